//! `shufflenet fetch` and `convert`.

use crate::{files, recorded, run, save, scratch, small};
use model::weights::Checkpoint;
use model::{Synthetic, Weights, Wiring};
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn convert_keeps_names_shapes_and_values() {
    let dir = scratch("convert");
    let (one, two) = (dir.join("one.safetensors"), dir.join("two.safetensors"));
    for wiring in Wiring::ALL {
        let config = small(wiring, 5);
        save(&config, &one);
        let said = run(["convert".as_ref(), one.as_os_str(), two.as_os_str()]).good();
        assert!(said.contains("two.safetensors") && said.contains(wiring.name()), "{said}");
        assert_eq!(said.lines().count(), 1);
        let (written, weights) = (Checkpoint::open(&two).unwrap(), Synthetic::new(&config).unwrap());
        assert_eq!(written.names().count(), weights.names().len());
        for name in weights.names() {
            assert_eq!(written.shape(&name).map(<[usize]>::to_vec), weights.shape(&name));
            assert_eq!(written.read(&name).unwrap(), weights.read(&name).unwrap());
        }
    }
    for name in ["zip.pth", "legacy.pth", "keras_weights.h5"] {
        let input = recorded("weights").join(name);
        let ran = run(["convert".as_ref(), input.as_os_str(), two.as_os_str()]);
        assert!(ran.status == 0 && ran.out.contains("not a ShuffleNetV2"), "{} {}", ran.out, ran.err);
        // Why it is none is told beside.
        assert!(ran.err.starts_with("shufflenet: note: ") && ran.err.lines().count() == 1, "{}", ran.err);
        let (read, written) = (Checkpoint::open(&input).unwrap(), Checkpoint::open(&two).unwrap());
        let sorted = |checkpoint: &Checkpoint| {
            let mut names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&read), sorted(&written));
    }
}

#[test]
fn convert_refuses_what_it_cannot_do() {
    let dir = scratch("convert_refuses");
    let (good, bad) = (dir.join("good.safetensors"), dir.join("bad.pth"));
    save(&small(Wiring::Torchvision, 5), &good);
    std::fs::write(&bad, "PK\u{3}\u{4} is all that it has of a zip file").unwrap();
    let convert = |input: &std::path::Path, output: &std::path::Path| {
        run(["convert".as_ref(), input.as_os_str(), output.as_os_str()])
    };
    convert(&good, &good).failed(2, &["would overwrite an input file"]);
    convert(&good, &dir.join("out.pth")).failed(2, &["*.safetensors", "out.pth"]);
    convert(&bad, &dir.join("out.safetensors")).failed(1, &["bad.pth"]);
    convert(&dir, &dir.join("out.safetensors")).failed(1, &["not a regular file"]);
    convert(&dir.join("no.h5"), &dir.join("out.safetensors")).failed(1, &["no.h5", "No such file"]);
    convert(&good, &dir.join("no folder/out.safetensors")).failed(1, &["out.safetensors", "No such file"]);
    assert_eq!(files(&dir), ["bad.pth", "good.safetensors"]);
}

/// Answers one request, and returns the address to ask.
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

#[test]
fn fetch_keeps_nothing_that_is_not_the_checkpoint() {
    let dir = scratch("fetch");
    let fetch = |address: &str| {
        run(["fetch", "0.5", "--dir", dir.join("new").to_str().unwrap(), "--base-url", address])
    };
    let ok = |declared: usize, sent: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {declared}\r\n\r\n");
        [head.as_bytes(), &vec![7; sent]].concat()
    };
    // The right size, the wrong bytes.
    let size = 5_282 * (1 << 20) / 1000;
    fetch(&serve(ok(size, size)))
        .failed(1, &["shufflenetv2_x0.5-f707e7126e.pth", "expected a SHA-256", "f707e7126e"]);
    fetch(&serve(ok(size, 1000))).failed(1, &["shufflenetv2_x0.5"]);
    fetch(&serve(ok(1000, 1000))).failed(1, &["expected", "found 1000"]);
    fetch(&serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())).failed(1, &["404"]);
    fetch("http://127.0.0.1:1").failed(1, &["http://127.0.0.1:1/"]);
    fetch("http://example.org").failed(1, &["https"]);
    fetch("").failed(1, &["https"]);
    assert_eq!(files(&dir.join("new")), [""; 0]);

    let file = dir.join("file");
    std::fs::write(&file, "").unwrap();
    run(["fetch", "1", "--dir", file.to_str().unwrap()]).failed(1, &["file"]);
    run(["fetch", "3.0"]).failed(2, &["'3.0'", "0.5, 1.0, 1.5, 2.0"]);
    run(["fetch"]).failed(2, &["<WIDTH>"]);
}
