//! Files of class names: one rule for texts, and the JSON that others write.

use model::labels::{from_bytes, imagenet, load};
use std::path::Path;

const NAMES: [&str; 3] = ["tench", "great white shark", "éclair"];

fn good(bytes: &[u8]) {
    assert_eq!(from_bytes(bytes, 3).unwrap(), NAMES, "{:?}", String::from_utf8_lossy(bytes));
}

fn refused(bytes: &[u8], parts: &[&str]) {
    let message = from_bytes(bytes, 3).unwrap_err().to_string();
    assert!(!message.contains('\n') && parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn one_name_per_line_however_lines_end() {
    for end in ["\n", "\r\n", "\r"] {
        for last in ["", end, &end.repeat(3), &format!("{end}  {end}\t")] {
            for mark in ["", "\u{feff}"] {
                let text = format!("{mark}{}{last}", NAMES.join(end));
                good(text.as_bytes());
                // The same in UTF-16, where the mark is needed.
                let units: Vec<u16> = format!("\u{feff}{}{last}", NAMES.join(end)).encode_utf16().collect();
                good(&units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>());
                good(&units.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>());
            }
        }
    }
    good("tench  \r\n\tgreat white shark\néclair".as_bytes());
    // An empty line between others is the place of a class without a name.
    assert_eq!(from_bytes(b"a\n\nc\n", 3).unwrap(), ["a", "", "c"]);
    assert_eq!(imagenet().len(), 1000);
    assert_eq!(from_bytes(imagenet().join("\n").as_bytes(), 1000).unwrap(), imagenet());
}

#[test]
fn json_as_others_write_it() {
    for text in [
        r#"["tench", "great white shark", "éclair"]"#,
        "\u{feff}\n[\"tench\",\r\n\"great white shark\",\"\\u00e9clair\"]\n\n",
        // Keras and torchvision: imagenet_class_index.json.
        r#"{"0": ["n01440764", "tench"], "1": ["n01484850", "great white shark"], "2": ["n07836838", "éclair"]}"#,
        r#"{"2": "éclair", "0": "tench", "1": "great white shark"}"#,
        // torchvision.datasets.ImageFolder(..).class_to_idx
        r#"{"éclair": 2, "great white shark": 1, "tench": 0}"#,
        // Hugging Face: config.json.
        r#"{"model_type": "x", "id2label": {"0": "tench", "1": "great white shark", "2": "éclair"}, "label2id": {}}"#,
    ] {
        good(text.as_bytes());
    }
    // Classes whose names are numbers.
    assert_eq!(from_bytes(br#"{"0": 0, "1": 1, "10": 2}"#, 3).unwrap(), ["0", "1", "10"]);

    let unknown = "neither a list of names nor a dictionary";
    for text in [
        r#"{"0": "a", "1": "b", "3": "c"}"#,
        r#"{"1": "a", "2": "b", "3": "c"}"#,
        r#"{"a": 0, "b": 0, "c": 1}"#,
        r#"{"a": "b"}"#,
        "[1, 2, 3]",
        "[[], [], []]",
        r#"{"id2label": 3}"#,
    ] {
        refused(text.as_bytes(), &[unknown]);
    }
    refused(br#"["a", "b"]"#, &["expected 3 names, found 2"]);
    refused(b"{}", &["expected 3 names, found 0"]);
    // Python's, which looks alike.
    refused(b"{0: 'tench',\n 1: 'goldfish',\n 2: 'shark'}", &["begins like JSON", "line 1 column 2"]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(deep.as_bytes(), &["recursion"]);
}

#[test]
fn what_is_no_such_list_is_told_so() {
    refused(b"a\nb\n", &["expected 3 names, one per line, found 2"]);
    refused(b"a\nb\nc\nd\n", &["expected 3 names, one per line, found 4"]);
    refused(b"background\na\nb\nc\n", &["found 4", "\"background\"", "one too many"]);
    refused(b"tench\n\xe9clair\nshark", &["line 2 is not UTF-8"]);
    refused(b"", &["an empty file"]);
    refused(b"\n\n", &["found 0"]);
    // UTF-16 that does not say so, UTF-32, half a character.
    let without_mark: Vec<u8> = "a\nb\nc\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&without_mark, &["NUL", "byte order mark"]);
    refused(b"\xff\xfe\0\0a\0\0\0", &["NUL"]);
    refused(b"\xff\xfea\0\n", &["damaged UTF-16"]);
    refused(b"\xff\xfe\0\xd8a\0", &["damaged UTF-16"]);
    refused(b"PK\x03\x04names.txt", &["not a list of names, but a zip archive"]);
    // What begins like the head of a picture's file.
    for names in
        ["BMW\nAudi\nSkoda", "P1\nP2\nP3", "ggml\na\nb", "GIF8\na\nb", "<s>\na\nb", "MM\na\nb", "BZh\na\nb"]
    {
        assert_eq!(from_bytes(names.as_bytes(), 3).unwrap().len(), 3, "{names}");
    }
    refused(b"<!DOCTYPE html>\n<html>\n</html>", &["a web page"]);
    refused(b"version https://git-lfs.github.com/spec/v1\nb\nc\n", &["a Git LFS pointer"]);

    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("labels");
    std::fs::create_dir_all(&dir).unwrap();
    let message = |path: &Path| load(path, 3).unwrap_err().to_string();
    assert!(message(&dir).contains("labels: Is a directory"), "{}", message(&dir));
    assert!(message(&dir.join("no.txt")).contains("no.txt: No such file"));
    let large = dir.join("large.txt");
    std::fs::File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(message(&large).contains("too many for a list of names"));
}
