//! Wrong command lines, help, pipes.

use crate::{command, finish, run};
use kernels::Isa;
use std::process::Stdio;

const COMMANDS: [&str; 7] = ["classify", "logits", "summary", "profile", "bench", "fetch", "convert"];

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    let cases: [(&[&str], &[&str]); 33] = [
        (&[], &["expected a command", "classify", "convert", "--help"]),
        (&["nonsense"], &["nonsense"]),
        (&["--nonsense"], &["--nonsense"]),
        (&["bench", "--wdth", "1.0"], &["--wdth", "--width"]),
        (&["bench", "--width", "3.0"], &["3.0", "0.5, 1.0, 1.5, 2.0"]),
        (&["bench", "--width"], &["--width"]),
        (&["bench", "--wiring", "caffe"], &["caffe", "torchvision, megvii, keras"]),
        (&["bench", "--size", "31"], &["31", "32"]),
        (&["bench", "--size", "224x"], &["224x"]),
        (&["bench", "--size", "-1"], &["-1"]),
        (&["bench", "--size", "99999999999999999999"], &["4096"]),
        (&["bench", "--batch", "0"], &["--batch"]),
        (&["bench", "--batch", "4096", "--size", "4096"], &["2 GiB"]),
        (&["bench", "--seconds", "0"], &["--seconds"]),
        (&["bench", "--seconds", "NaN"], &["--seconds"]),
        (&["bench", "--threads", "0"], &["--threads"]),
        (&["bench", "--threads", "two"], &["--threads", "expected a whole number from 1 to 1024"]),
        (&["bench", "--threads", "-1"], &["--threads", "'-1'", "1 to 1024"]),
        (&["bench", "--batch", "2.5"], &["--batch", "expected a whole number from 1 to 4096"]),
        (&["bench", "--seconds", "-1"], &["--seconds", "above 0"]),
        (&["bench", "--isa", ""], &["--isa", "auto, avx512, avx2, "]),
        (&["logits", "--weights", "w.pth", "--input", "x.npy", "--output", ""], &["--output"]),
        (&["bench", "--isa", "sse9"], &["sse9", "auto, avx512, avx2, "]),
        (&["bench", "--pin", "x"], &["--pin"]),
        (&["bench", "--pin", "3-1"], &["--pin", "3-1"]),
        (&["bench", "--pin", "0", "--threads", "2"], &["--pin", "2 threads", "found 1"]),
        (&["bench", "more"], &["more"]),
        (&["classify", "photo.jpg"], &["--weights"]),
        (&["classify", "--weights", "w.pth"], &["<IMAGE>"]),
        (&["classify", "", "--weights", "w.pth"], &["IMAGE"]),
        (&["classify", "photo.jpg", "--weights", "w.pth", "--top", "0"], &["--top"]),
        (&["logits", "--weights", "w.pth"], &["--input", "--output"]),
        (&["convert", "only-one"], &["OUT.safetensors"]),
    ];
    for (args, parts) in cases {
        run(args).failed(2, parts);
    }
}

#[test]
fn an_instruction_set_that_is_not_there_is_an_error() {
    for isa in Isa::names() {
        let ran = run(["bench", "--size", "32", "--seconds", "0.01", "--isa", isa]);
        match Isa::from_name(isa) {
            Ok(_) => drop(ran.good()),
            Err(_) => ran.failed(2, &["--isa", isa, "not available"]),
        }
    }
    let portable = format!("\"isa\":\"{}\"", Isa::portable());
    let with = |value: &str, args: &[&str]| {
        let mut command = command(args);
        command.env("KERNELS_ISA", value);
        finish(command)
    };
    with("sse9", &["bench"]).failed(1, &["KERNELS_ISA", "sse9", Isa::portable().name()]);
    // Commands that run nothing do not read it, and an empty one is none.
    let no_file = ["convert", "no.pth", "out.safetensors"];
    for value in ["", "sse9"] {
        with(value, &["summary"]).good();
        with(value, &["--help"]).good();
        with(value, &["bench", "--help"]).good();
        with(value, &no_file).failed(1, &["no.pth", "No such file"]);
        with(value, &["fetch", "0.5", "--base-url", "x"]).failed(1, &["https"]);
    }
    let bench = ["bench", "--size", "32", "--seconds", "0.01", "--json"];
    assert_eq!(with("", &bench).good().contains(&portable), Isa::best() == Isa::portable());
    assert!(with("portable", &bench).good().contains(&portable));
    // The option has the last word.
    let both = [&bench[..], &["--isa", "portable"]].concat();
    assert!(with("sse9", &both).good().contains(&portable));
}

#[test]
fn help_teaches() {
    for flag in ["--help", "-h"] {
        let text = run([flag]).good();
        assert!(COMMANDS.iter().all(|name| text.contains(name)), "{text}");
    }
    for name in COMMANDS {
        let text = run([name, "--help"]).good();
        assert!(text.contains("Examples:\n  shufflenet "), "{text}");
        assert!(text.contains(&format!("shufflenet {name} ")), "{text}");
        assert!(text.contains("--threads") && text.contains("--isa"), "{text}");
        assert!(!text.contains('\u{1b}'), "no colours into a pipe");
    }
    assert!(run(["--version"]).good().starts_with("shufflenet "));
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for args in [["--threads", "2", "summary"], ["summary", "--threads", "2"]] {
        run(args).good();
    }
}

#[test]
fn who_reads_no_further_is_no_error() {
    for args in [&["summary"][..], &["--help"], &["bench", "--size", "32", "--seconds", "0.01"]] {
        let mut command = command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = command(["summary"]);
    command.stdout(full);
    finish(command).failed(1, &["standard output", "No space left"]);
}

#[cfg(unix)]
#[test]
fn names_of_files_cannot_break_the_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let name = OsStr::from_bytes(b"a\nb\x1b[31m\xff.pth");
    let args = ["convert".as_ref(), name, "out.safetensors".as_ref()];
    run(args).failed(1, &["a\\nb\\u{1b}[31m"]);
    let args = ["summary".as_ref(), name];
    run(args).failed(2, &[]);
}
