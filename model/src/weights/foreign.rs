//! Files that people take for checkpoints: what they are, and what to do.

use super::source::Source;
use crate::files::kind::{self, Class, Kind};

const SAVE: &str = "save the model's state_dict() with torch.save, or as .safetensors";

/// What a file is that is no checkpoint, and a hint; none where nobody knows.
pub(super) fn name(source: &Source) -> Option<(&'static str, &'static str)> {
    let head = source.read_range(0..source.len().min(1024)).unwrap_or_default();
    match kind::of(&head) {
        Some(Kind { what, class }) => Some((what, class.advice().or_else(|| advice(class))?)),
        None => json(&head),
    }
}

fn advice(class: Class) -> Option<&'static str> {
    Some(match class {
        Class::Jpeg | Class::Png | Class::WebP | Class::Picture | Class::Document | Class::Video => {
            "the weights are another file"
        }
        Class::Page => "download the file itself, not the page that offers it",
        Class::Array => "weights are many arrays by name: .pth, .safetensors or .h5",
        Class::Onnx => {
            "the command `run` takes .onnx files; for this one, give the checkpoint that it was made from"
        }
        Class::OldPickle => "write it again by pickle.dump(.., protocol=4)",
        Class::Network => "give the checkpoint that it was made from: .pth, .safetensors or .h5",
        // Those that are read; this build may be without their reader.
        _ => return None,
    })
}

fn json(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let (b'{' | b'[') = text.first()? else { return None };
    Some(if text.windows(12).any(|window| window == b"\"weight_map\"") {
        ("the index of a checkpoint in several files", "give the .safetensors file that it names")
    } else {
        ("a JSON file", SAVE)
    })
}

/// What a zip archive without weights is, by the names of its entries.
#[cfg(any(feature = "torch", feature = "hdf5"))]
pub(super) fn name_zip<'a>(names: impl Iterator<Item = &'a str> + Clone) -> (&'static str, &'static str) {
    let ends =
        |endings: &[&str]| names.clone().any(|name| endings.iter().any(|ending| name.ends_with(ending)));
    if names.clone().any(|name| name.contains("/data/weights/")) {
        ("a torch.export archive (.pt2)", SAVE)
    } else if ends(&[".npy"]) {
        (
            "a NumPy .npz archive",
            "in Python: safetensors.numpy.save_file(dict(numpy.load(IN)), 'OUT.safetensors')",
        )
    } else if ends(&[".pth", ".pt", ".ckpt", ".safetensors", ".h5", ".hdf5", ".keras", ".bin"]) {
        ("a zip archive with files in it", "unpack it first")
    } else {
        ("a zip archive without weights", "expected what torch.save or Keras writes")
    }
}
