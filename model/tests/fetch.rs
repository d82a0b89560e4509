//! Fetching from a small server on this machine: what is right is kept, all else leaves nothing.
#![cfg(feature = "fetch")]

use model::fetch::{Expected, PRETRAINED, download, fetch};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Answers one request with `response`, and returns the address of the server.
fn serve(response: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            request.push(byte[0]);
        }
        // A client that has seen enough hangs up.
        let _ = stream.write_all(&response);
    });
    address
}

fn ok(declared: usize, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {declared}\r\n\r\n").as_bytes(), body].concat()
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn expected(body: &[u8]) -> Expected {
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    Expected { sha256: hash[..10].to_owned(), bytes: body.len() as u64..=body.len() as u64 }
}

#[test]
fn what_is_right_is_kept() {
    let dir = scratch("what_is_right_is_kept");
    let body = vec![7; 300_000];
    for response in [
        ok(body.len(), &body),
        // Without a length, until the server hangs up.
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &body[..]].concat(),
    ] {
        let path = dir.join("file.pth");
        let mut seen = Vec::new();
        download(&serve(response), &path, &expected(&body), |received, total| seen.push((received, total)))
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), body);
        assert!(seen.is_sorted());
        assert_eq!(seen.last().unwrap().0, 300_000);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    }
}

#[test]
fn what_is_wrong_leaves_nothing() {
    let dir = scratch("what_is_wrong_leaves_nothing");
    let path = dir.join("file.pth");
    let body = b"the right body".repeat(1000);
    let len = body.len();
    let mut changed = body.clone();
    changed[5000] ^= 1;
    let close: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    for (response, reason) in [
        (ok(len, &changed), "expected a SHA-256 that starts with"),
        (ok(len, &body[..len - 1]), ""),
        (ok(len - 1, &body[..len - 1]), "expected 14000 to 14000 bytes, found 13999"),
        (ok(usize::MAX, &body), "expected 14000 to 14000 bytes"),
        ([close, &body[..len - 1]].concat(), "expected 14000 to 14000 bytes, found 13999"),
        ([close, &body, &body].concat(), "expected 14000 to 14000 bytes, found 14001"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), "404"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec(), "500"),
        (b"what?".to_vec(), ""),
        (Vec::new(), ""),
    ] {
        let url = serve(response);
        let message = download(&url, &path, &expected(&body), |_, _| {}).unwrap_err().to_string();
        assert!(message.contains(reason) && message.starts_with(&url), "{reason}: {message}");
        assert!(!message.contains('\n'), "{message}");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{message}");
    }

    // What was there before stays.
    std::fs::write(&path, b"old").unwrap();
    download(&serve(ok(len, &changed)), &path, &expected(&body), |_, _| {}).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");

    let nowhere = dir.join("no/file.pth");
    let message =
        download(&serve(ok(len, &body)), &nowhere, &expected(&body), |_, _| {}).unwrap_err().to_string();
    assert!(message.contains("no/file.pth: "), "{message}");
}

#[test]
fn only_https_leaves_this_machine() {
    let path = scratch("only_https").join("file.pth");
    for url in
        ["http://example.org/x", "http://localhost.example.org/x", "ftp://localhost/x", "file:///etc/passwd"]
    {
        let message = download(url, &path, &expected(b"x"), |_, _| {}).unwrap_err().to_string();
        assert_eq!(message, format!("{url}: expected an https:// address"));
    }
    // A redirection to elsewhere by plain HTTP is not followed either.
    let away = b"HTTP/1.1 302 Found\r\nLocation: http://example.org/x\r\nContent-Length: 0\r\n\r\n".to_vec();
    let message = download(&serve(away), &path, &expected(b"x"), |_, _| {}).unwrap_err().to_string();
    assert!(message.contains("302"), "{message}");
}

#[test]
fn the_four_of_torchvision() {
    let sizes = PRETRAINED.map(|pretrained| {
        let expected = pretrained.expected();
        assert!(expected.sha256.len() >= 8 && expected.sha256.chars().all(|c| c.is_ascii_hexdigit()));
        assert!(pretrained.file.contains(&expected.sha256));
        expected.bytes
    });
    // The one whose size is known to the byte.
    assert!(sizes[1].contains(&9_218_294));
    assert!(!sizes[1].contains(&9_220_294));

    // A file of that name that is not right is fetched again.
    let dir = scratch("the_four");
    std::fs::write(dir.join(PRETRAINED[0].file), b"not it").unwrap();
    let message = fetch(&PRETRAINED[0], &dir, &serve(ok(3, b"abc")), |_, _| {}).unwrap_err().to_string();
    assert!(message.contains("/shufflenetv2_x0.5-f707e7126e.pth: expected 55"), "{message}");
}
