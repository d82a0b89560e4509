//! Files that people take for checkpoints: what they are, and what to do.

use super::source::Source;

/// What a file is that is no checkpoint, and a hint; none where nobody knows.
pub(super) fn name(source: &Source) -> Option<(&'static str, &'static str)> {
    let head = start(source, 0, 1024);
    let begins = |magic: &[u8]| head.starts_with(magic);
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let tagged = |tags: &[&str]| {
        let lower = text.get(..text.len().min(200)).unwrap_or(text).to_ascii_lowercase();
        tags.iter().any(|tag| lower.starts_with(tag))
    };
    let save = "save the model's state_dict() with torch.save, or as .safetensors";
    let export =
        "the command `run` takes .onnx files; for this one, give the checkpoint that it was made from";
    Some(if head.is_empty() {
        ("an empty file", "was the download cut off?")
    } else if begins(b"version https://git-lfs") {
        ("a git-LFS pointer", "`git lfs pull` fetches the file that it stands for")
    } else if tagged(&["<!doctype html", "<html", "<head"]) {
        ("an HTML page", "download the file itself, not the page that offers it")
    } else if begins(b"\x1f\x8b") {
        ("a gzip archive", "unpack it first (gunzip, or tar xzf)")
    } else if start(source, 257, 5) == b"ustar" || has_old_tar_header(&head) {
        ("a tar archive", "unpack it first (tar xf)")
    } else if begins(b"BZh")
        || begins(b"\xfd7zXZ")
        || begins(b"7z\xbc\xaf")
        || begins(b"Rar!")
        || begins(b"\x28\xb5\x2f\xfd")
    {
        ("a compressed archive", "unpack it first")
    } else if begins(b"\x93NUMPY") {
        ("a NumPy array", "weights are many arrays by name: .pth, .safetensors or .h5")
    } else if start(source, 4, 4) == b"TFL3" {
        ("a TensorFlow Lite model", "give the Keras .h5 or .keras that it was made from")
    } else if begins(b"GGUF") || begins(b"ggml") {
        ("a GGUF file", save)
    } else if begins(b"7767517") {
        ("an ncnn network", "give the checkpoint that it was made from")
    } else if tagged(&["<?xml", "<net"]) {
        ("an XML file, perhaps of OpenVINO", "give the checkpoint that it was made from")
    } else if is_onnx(&head) {
        ("an ONNX network", export)
    } else if begins(b"\xff\xd8\xff") || begins(b"\x89PNG") || begins(b"RIFF") || begins(b"GIF8") {
        ("an image", "the weights are another file")
    } else if begins(b"%PDF") {
        ("a PDF document", "download the file itself")
    } else if tagged(&["{"]) && text.contains("\"weight_map\"") {
        ("the index of a checkpoint in several files", "give the .safetensors file that it names")
    } else if tagged(&["{", "["]) {
        ("a JSON file", save)
    } else {
        return None;
    })
}

/// What a zip archive without weights is, by the names of its entries.
#[cfg(any(feature = "torch", feature = "hdf5"))]
pub(super) fn name_zip<'a>(names: impl Iterator<Item = &'a str>) -> (&'static str, &'static str) {
    let unpack = ("a zip archive with files in it", "unpack it first");
    for name in names {
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".npy"]) {
            return (
                "a NumPy .npz archive",
                "in Python: safetensors.numpy.save_file(dict(numpy.load(IN)), 'OUT.safetensors')",
            );
        }
        if ends(&[".pth", ".pt", ".ckpt", ".safetensors", ".h5", ".hdf5", ".keras", ".bin"]) {
            return unpack;
        }
    }
    ("a zip archive without weights", "expected what torch.save or Keras writes")
}

fn start(source: &Source, offset: u64, len: u64) -> Vec<u8> {
    let end = source.len().min(offset.saturating_add(len));
    source.read_range(offset.min(end)..end).unwrap_or_default()
}

/// The tar archives that PyTorch wrote before 0.1.3, whose first entry is a folder or `sys_info`.
fn has_old_tar_header(head: &[u8]) -> bool {
    // The sum of the header's bytes in octal digits, as if its own digits were blanks.
    let Some(header) = head.first_chunk::<512>() else { return false };
    let digits = String::from_utf8_lossy(&header[148..156]);
    let declared = u32::from_str_radix(digits.trim_matches([' ', '\0']), 8);
    let sum: u32 =
        header.iter().enumerate().map(|(at, &b)| if (148..156).contains(&at) { 32 } else { b.into() }).sum();
    declared == Ok(sum)
}

/// The version of the format as the first field, then who made it (or one of its other first fields).
fn is_onnx(head: &[u8]) -> bool {
    let [0x08, 1..=20, field, rest @ ..] = head else { return false };
    match field {
        // The producer's name: its length, and text.
        0x12 => rest.split_first().is_some_and(|(&len, name)| {
            name.len() >= len.into() && name[..len.into()].iter().all(|c| c.is_ascii_graphic() || *c == b' ')
        }),
        0x3a | 0x42 => true,
        _ => false,
    }
}
