//! From a file to a [`Picture`].

use super::decoded::{Decoded, MAX_BYTES};
use super::{Picture, PictureError, jpeg, png, webp};
use crate::files::kind::{self, Class, Kind};
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

impl Picture {
    /// Reads a JPEG, PNG or WebP file. What it is, its content says; its name is not looked at.
    ///
    /// The picture comes out turned as the file's EXIF orientation says. As with Pillow's `convert("RGB")`, transparency
    /// is dropped and palettes are applied; of 16-bit samples the upper half is kept; of an animation the first frame.
    ///
    /// # Errors
    /// Where the file cannot be read, is of another kind (HEIC, a web page, ...), cut off or damaged, or would need more
    /// than 512 MiB in one piece. The sentence names the file. A panic in a decoder is such an error too, where panics
    /// unwind; then Rust's panic hook has run.
    pub fn open(path: &Path) -> Result<Self, PictureError> {
        let named = |why: String| PictureError(format!("{}: {why}", path.display()));
        // A pipe or a device may never end.
        match std::fs::metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(found) if found.is_dir() => return Err(named(String::from("a folder, not a photo"))),
            Ok(_) => return Err(named(String::from("not a regular file"))),
            Err(e) => return Err(named(e.to_string())),
        }
        let file = File::open(path).map_err(|e| named(e.to_string()))?;
        Self::read(file).map_err(|e| named(e.0))
    }

    /// The same for whatever can be read to its end, such as the standard input.
    pub fn read(source: impl Read) -> Result<Self, PictureError> {
        let mut bytes = Vec::new();
        source.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| PictureError(e.to_string()))?;
        if bytes.len() > MAX_BYTES {
            return Err(PictureError(format!("longer than {} MiB, the limit for photos", MAX_BYTES >> 20)));
        }
        Self::decode(&bytes)
    }

    /// The same for a file in memory.
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        let found = kind::of(bytes);
        let decode = match found.map(|found| found.class) {
            Some(Class::Jpeg) => jpeg::decode,
            Some(Class::Png) => png::decode,
            Some(Class::WebP) => webp::decode,
            _ => return Err(PictureError(what_else(found, bytes))),
        };
        contained(|| {
            let Decoded { width, height, pixels, orientation } = decode(bytes)?;
            Ok(orientation.turn(Self::from_rgb(width, height, pixels).map_err(|e| e.0)?))
        })
    }
}

/// What a file is that is no photo, and what can be done about it.
fn what_else(found: Option<Kind>, bytes: &[u8]) -> String {
    let (what, advice) = match found {
        Some(Kind { class: Class::Empty, .. }) => return String::from("the file is empty"),
        Some(Kind { what, class }) => (what, class.advice().unwrap_or_else(|| advice(class))),
        None => {
            let start = &bytes[..bytes.len().min(1024)];
            let text = start.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
            if text {
                ("a text file", "is the name right?")
            } else {
                ("a file of unknown kind", "is it damaged?")
            }
        }
    };
    format!("{what}, neither JPEG nor PNG nor WebP: {advice}")
}

fn advice(class: Class) -> &'static str {
    match class {
        Class::Picture => "convert it to JPEG, PNG or WebP first, for example with `magick IN OUT.png`",
        Class::Document => "export it as JPEG, PNG or WebP first",
        Class::Video => "take a frame out of it first, for example with `ffmpeg -i IN -frames:v 1 OUT.png`",
        Class::Page => "was the photo's address a page about it?",
        Class::Array => "`shufflenet logits` reads those",
        Class::Zip => "unpack it first, or is it the checkpoint?",
        _ => "is it the checkpoint?",
    }
}

/// Whatever goes wrong in `work`, a panic too, becomes one line.
fn contained(work: impl FnOnce() -> Result<Picture, String>) -> Result<Picture, PictureError> {
    // What a panic leaves half done are the decoder's own values, which nobody sees again.
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("the decoder gave up on this file ({text}); please report it"))
    });
    result.map_err(|why| PictureError(why.replace(['\n', '\r'], " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_this_picture() {
        let message = contained(|| panic!("number\n{}", 7)).unwrap_err().to_string();
        assert!(message.contains("number 7") && !message.contains('\n'), "{message}");
        let message = contained(|| panic!("plain")).unwrap_err().to_string();
        assert!(message.contains("plain"), "{message}");
    }
}
