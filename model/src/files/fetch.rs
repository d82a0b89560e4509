//! torchvision's trained checkpoints, over HTTPS.

use super::atomic::AtomicFile;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where torchvision keeps them.
pub const BASE_URL: &str = "https://download.pytorch.org/models";

/// A checkpoint that can be had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pretrained {
    /// Width of the network as people write it: `0.5`, `1.0`, `1.5`, `2.0`.
    pub width: &'static str,
    /// Name of the file. The hexadecimal digits before the extension are the first of its SHA-256.
    pub file: &'static str,
    /// Size as torchvision states it, in thousandths of 2^20 bytes.
    pub size: u32,
}

/// The four of them: `IMAGENET1K_V1` in torchvision's terms.
pub const PRETRAINED: [Pretrained; 4] = [
    Pretrained { width: "0.5", file: "shufflenetv2_x0.5-f707e7126e.pth", size: 5_282 },
    Pretrained { width: "1.0", file: "shufflenetv2_x1-5666bf0f80.pth", size: 8_791 },
    Pretrained { width: "1.5", file: "shufflenetv2_x1_5-3c479a10.pth", size: 13_557 },
    Pretrained { width: "2.0", file: "shufflenetv2_x2_0-8be3c8ee.pth", size: 28_433 },
];

/// What a file must be to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// First hexadecimal digits of its SHA-256, in lower case.
    pub sha256: String,
    /// Fewest and most bytes.
    pub bytes: std::ops::RangeInclusive<u64>,
}

impl Pretrained {
    /// What the file must be.
    pub fn expected(&self) -> Expected {
        let stem = self.file.strip_suffix(".pth").unwrap_or(self.file);
        let sha256 = stem.rsplit('-').next().unwrap_or_default().to_owned();
        // The stated size is rounded.
        let size = |thousandths: u32| (u64::from(thousandths) << 20) / 1000;
        Expected { sha256, bytes: size(self.size - 1)..=size(self.size + 1) }
    }
}

/// Why a file was not fetched. Displays as one line; nothing is left behind.
#[derive(Debug)]
pub struct FetchError(String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

/// Brings a checkpoint into the folder `dir` and returns its path. One that is already there, and right, is
/// not fetched again.
///
/// `progress` is told the bytes received so far, and of how many if the server says so.
pub fn fetch(
    pretrained: &Pretrained,
    dir: &Path,
    base_url: &str,
    progress: impl FnMut(u64, Option<u64>),
) -> Result<PathBuf, FetchError> {
    let path = dir.join(pretrained.file);
    let expected = pretrained.expected();
    if !is_already_there(&path, &expected) {
        let url = format!("{}/{}", base_url.trim_end_matches('/'), pretrained.file);
        download(&url, &path, &expected, progress)?;
    }
    Ok(path)
}

fn is_already_there(path: &Path, expected: &Expected) -> bool {
    // A FIFO is not even opened: that would wait.
    let right_size = |found: Metadata| found.is_file() && expected.bytes.contains(&found.len());
    let mut hash = Hashing { sink: io::sink(), hash: Sha256::new() };
    fs::metadata(path).is_ok_and(right_size)
        && File::open(path).and_then(|mut file| io::copy(&mut file, &mut hash)).is_ok()
        && hash.hex().starts_with(&expected.sha256)
}

/// Brings what is at `url` to `path`, if it is what is expected.
///
/// The file appears under its name only after its size and hash were found right. Plain HTTP is refused
/// except from this machine.
pub fn download(
    url: &str,
    path: &Path,
    expected: &Expected,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<(), FetchError> {
    let error = |why: &dyn fmt::Display| FetchError(format!("{url}: {}", why.to_string().replace('\n', " ")));
    let local = ["http://localhost", "http://127.0.0.1", "http://[::1]"]
        .into_iter()
        .any(|host| url.strip_prefix(host).is_some_and(|rest| rest.starts_with([':', '/'])));
    if !local && !url.starts_with("https://") {
        return Err(error(&"expected an https:// address"));
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .https_only(!local)
        // From this machine, a redirection could lead to plain HTTP elsewhere.
        .max_redirects(if local { 0 } else { 5 })
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_recv_body(Some(Duration::from_secs(30 * 60)))
        .build()
        .into();
    let response = agent.get(url).call().map_err(|e| error(&e))?;
    if response.status() != 200 {
        return Err(error(&format!("the server answers with status {}", response.status())));
    }
    let mut body = response.into_body();
    let total = body.content_length();
    let most = *expected.bytes.end();
    if total.is_some_and(|total| !expected.bytes.contains(&total)) {
        return Err(error(&wrong_size(expected, total.unwrap_or(0))));
    }

    let file = AtomicFile::create(path).map_err(|e| FetchError(format!("{}: {e}", path.display())))?;
    let mut file = Hashing { sink: file, hash: Sha256::new() };
    // One byte more than allowed is enough to know.
    let mut reader = body.as_reader().take(most + 1);
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let len = reader.read(&mut buffer).map_err(|e| error(&e))?;
        if len == 0 {
            break;
        }
        file.write_all(&buffer[..len]).map_err(|e| FetchError(format!("{}: {e}", path.display())))?;
        received += len as u64;
        progress(received, total);
    }
    if !expected.bytes.contains(&received) {
        return Err(error(&wrong_size(expected, received)));
    }
    let found = file.hex();
    if !found.starts_with(&expected.sha256) {
        return Err(error(&format!(
            "expected a SHA-256 that starts with {}, found {found}",
            expected.sha256
        )));
    }
    file.sink.commit().map_err(|e| FetchError(format!("{}: {e}", path.display())))
}

fn wrong_size(expected: &Expected, found: u64) -> String {
    format!("expected {} to {} bytes, found {found}", expected.bytes.start(), expected.bytes.end())
}

/// Hashes what is written through it.
struct Hashing<W> {
    sink: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn hex(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.sink.write(buf)?;
        self.hash.update(&buf[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
