//! `shufflenet classify` of many photos: threads, a file of lines, and going on with it.

use crate::{command, recorded, run, save, scratch, small};
use model::Wiring;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A folder of `count` photos of several kinds, and weights.
fn photos(name: &str, count: usize) -> (PathBuf, PathBuf, PathBuf) {
    let dir = scratch(name);
    let (weights, folder) = (dir.join("w.safetensors"), dir.join("photos"));
    save(&small(Wiring::Torchvision, 4), &weights);
    std::fs::create_dir(&folder).unwrap();
    let kinds = ["rgb.jpg", "lossy.webp", "rgb.png", "gray.png", "cmyk.jpg"]
        .map(|kind| recorded("images").join(kind));
    for index in 0..count {
        let kind = &kinds[index % kinds.len()];
        let ending = kind.extension().unwrap().to_str().unwrap();
        std::fs::copy(kind, folder.join(format!("{index:03}.{ending}"))).unwrap();
    }
    (dir, weights, folder)
}

fn args(weights: &Path, folder: &Path, more: &[&str]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["classify".into(), "--weights".into(), weights.into(), folder.into()];
    args.extend(more.iter().map(Into::into));
    args
}

#[test]
fn threads_change_neither_answers_nor_their_order() {
    let (_, weights, folder) = photos("many_threads", 23);
    std::fs::write(folder.join("007.heic"), b"\0\0\0\x18ftypheic\0\0\0\0heic").unwrap();
    for format in ["--json", "--jsonl", "--top=2"] {
        let one = run(args(&weights, &folder, &[format]));
        assert_eq!((one.status, one.err.lines().count()), (1, 1), "{}", one.err);
        for threads in ["2", "3", "24", "30"] {
            let many = run(args(&weights, &folder, &[format, "--threads", threads]));
            assert_eq!((many.status, &many.out, &many.err), (1, &one.out, &one.err), "{threads} threads");
        }
    }
}

#[test]
fn rates_are_told_when_asked_for() {
    let (_, weights, folder) = photos("many_rates", 6);
    for threads in ["1", "2", "8"] {
        let ran = run(args(&weights, &folder, &["--jsonl", "--stats", "--threads", threads]));
        assert_eq!((ran.status, ran.err.lines().count()), (0, 1), "{}", ran.err);
        assert!(ran.err.starts_with("shufflenet: note: 6 photos in "), "{}", ran.err);
        for part in ["images per second", "decoding ", "resizing ", "network "] {
            let (_, rest) = ran.err.split_once(part).unwrap();
            assert!(!rest.starts_with("0.0"), "{}", ran.err);
        }
    }
}

#[test]
fn what_is_in_the_file_is_not_done_again() {
    let (dir, weights, folder) = photos("many_resume", 12);
    let file = dir.join("out.jsonl");
    let output = file.to_str().unwrap();
    let everything = run(args(&weights, &folder, &["--jsonl"])).good();
    assert_eq!(run(args(&weights, &folder, &["--jsonl", "--output", output])).good(), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), everything);
    // Nothing that is there is written over.
    run(args(&weights, &folder, &["--jsonl", "--output", output]))
        .failed(1, &["out.jsonl: is there already", "--resume"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), everything);

    // Whatever was left, and in the middle of a line at that.
    let ends = everything.match_indices('\n').map(|(at, _)| at + 1);
    let cuts =
        [0, 1, everything.len() - 1, everything.len()].into_iter().chain(ends.flat_map(|at| [at, at + 9]));
    for cut in cuts.filter(|&cut| cut <= everything.len()) {
        std::fs::write(&file, &everything[..cut]).unwrap();
        let more = ["--jsonl", "--output", output, "--resume", "--threads", "2"];
        assert_eq!(run(args(&weights, &folder, &more)).good(), "");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), everything, "cut at {cut}");
    }

    // A photo that is named twice is told twice.
    let photo = folder.join("003.png");
    let mut twice = args(&weights, &photo, &["--jsonl", "--output", output, "--resume"]);
    twice.extend([photo.into(), folder.join("002.png").into()]);
    std::fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        run(&twice).good();
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    }

    // A file of something else stays as it is.
    for other in ["a letter\n", "{\"image\": 1}\n", "{\"name\":\"x\"}\nand more"] {
        std::fs::write(&file, other).unwrap();
        run(args(&weights, &folder, &["--jsonl", "--output", output, "--resume"]))
            .failed(1, &["out.jsonl: line 1 is none of"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), other);
    }
    run(args(&weights, &folder, &["--output", output])).failed(2, &["--jsonl"]);
    run(args(&weights, &folder, &["--jsonl", "--resume"])).failed(2, &["--output"]);
    run(args(&weights, &folder, &["--jsonl", "--output", dir.join("no/out").to_str().unwrap()]))
        .failed(1, &["no/out", "No such file"]);
}

/// `kill` of the shell, for the want of a dependency.
#[cfg(unix)]
fn interrupt(process: u32) {
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -INT {process}")]).status();
    assert!(killed.unwrap().success());
}

#[cfg(unix)]
#[test]
fn nothing_is_lost_when_it_is_interrupted() {
    let (dir, weights, folder) = photos("many_interrupted", 60);
    let everything = run(args(&weights, &folder, &["--jsonl"])).good();
    let file = dir.join("out.jsonl");
    let more = ["--jsonl", "--output", file.to_str().unwrap(), "--resume", "--threads", "2"];
    let told = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    for after in [0, 3, 17, 40] {
        let mut started = command(args(&weights, &folder, &more)).spawn().unwrap();
        while started.try_wait().unwrap().is_none() && told(&file).lines().count() < after {
            std::thread::yield_now();
        }
        if started.try_wait().unwrap().is_none() {
            interrupt(started.id());
        }
        started.wait().unwrap();
        let left = told(&file);
        assert!(left.lines().count() >= after && everything.starts_with(&left), "{left}");
    }
    run(args(&weights, &folder, &more)).good();
    assert_eq!(told(&file), everything);
}

#[test]
fn two_commands_do_not_write_to_one_file() {
    let (dir, weights, folder) = photos("many_locked", 3);
    let file = dir.join("out.jsonl");
    let more = args(&weights, &folder, &["--jsonl", "--output", file.to_str().unwrap(), "--resume"]);
    let other = std::fs::File::create(&file).unwrap();
    if other.try_lock().is_err() {
        return eprintln!("skipped: this file system knows no locks");
    }
    run(&more).failed(1, &["out.jsonl: another command is writing to it"]);
    drop(other);
    run(&more).good();
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
}
