//! `shufflenet classify`.

use crate::{command, finish, recorded, run, save, save_changed, scratch, small};
use kernels::{Isa, Serial};
use model::photo::{Picture, Recipe};
use model::weights::Checkpoint;
use model::{Config, Images, Network, Wiring, labels};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

fn classify(weights: &Path, images: &[&Path], more: &[&str]) -> crate::Ran {
    let mut args: Vec<OsString> = vec!["classify".into(), "--weights".into(), weights.into()];
    args.extend(images.iter().map(|image| image.into()));
    args.extend(more.iter().map(Into::into));
    run(args)
}

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("an array")
}

/// Classes and probabilities, the most probable first, as the library finds them.
fn expected(network: &Network, recipe: &Recipe, image: &Path) -> Vec<(usize, f32)> {
    let input = recipe.apply(&Picture::open(image).unwrap());
    let mut logits = vec![0.0; network.config().classes];
    network.run(&Serial, Images::nchw(&input, 1, 224, 224), &mut network.workspace(), &mut logits);
    kernels::softmax(&mut logits);
    let mut classes: Vec<_> = logits.into_iter().enumerate().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    classes
}

#[test]
fn each_wiring_and_width_has_its_recipe() {
    let dir = scratch("recipes");
    let weights = dir.join("w.safetensors");
    let image = recorded("images/rgb.jpg");
    let published = |width| Config::published(width, Wiring::Torchvision).unwrap();
    for (config, recipe) in [
        (published("0.5"), Recipe::torchvision(256)),
        (published("1.5"), Recipe::torchvision(232)),
        (small(Wiring::Torchvision, 1000), Recipe::torchvision(256)),
        (small(Wiring::Megvii, 1000), Recipe::megvii()),
        (small(Wiring::Keras, 1000), Recipe::keras()),
    ] {
        save(&config, &weights);
        let network = Network::load(&Checkpoint::open(&weights).unwrap(), Isa::best()).unwrap();
        let answers = json(&classify(&weights, &[&image], &["--json", "--top", "7"]).good());
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["image"], image.to_str().unwrap());
        let top = answers[0]["top"].as_array().unwrap();
        assert_eq!(top.len(), 7);
        for (index, (guess, (class, probability))) in
            top.iter().zip(expected(&network, &recipe, &image)).enumerate()
        {
            assert_eq!(guess["rank"], index + 1);
            assert_eq!(guess["class"], class);
            assert_eq!(guess["label"], labels::imagenet()[class]);
            assert_eq!(guess["probability"].as_f64().unwrap() as f32, probability, "{config}");
        }
    }
}

#[test]
fn names_come_from_a_file_from_imagenet_or_not_at_all() {
    let dir = scratch("labels");
    let (weights, names) = (dir.join("w.safetensors"), dir.join("names.txt"));
    let image = recorded("images/rgb16.png");
    save(&small(Wiring::Torchvision, 3), &weights);
    let top = |more: &[&str]| {
        let answers = json(&classify(&weights, &[&image], &[&["--json"], more].concat()).good());
        answers[0]["top"].as_array().unwrap().clone()
    };
    let plain = top(&[]);
    assert_eq!(plain.len(), 3);
    assert!(plain.iter().all(|guess| guess["label"].is_null()));

    std::fs::write(&names, "oak\nash\nelm\u{1b}[31m\n").unwrap();
    let file = names.to_str().unwrap();
    for guess in top(&["--labels", file]) {
        let class = guess["class"].as_u64().unwrap();
        assert_eq!(guess["label"], ["oak", "ash", "elm\u{1b}[31m"][class as usize]);
    }
    // What a terminal would take for a command is shown instead.
    let table = classify(&weights, &[&image], &["--labels", file]).good();
    assert!(!table.contains('\u{1b}') && table.contains("elm\\u{1b}[31m"), "{table}");

    std::fs::write(&names, "oak\nash\n").unwrap();
    classify(&weights, &[&image], &["--labels", file])
        .failed(1, &["names.txt", "expected 3 names", "found 2"]);
    classify(&weights, &[&image], &["--labels", "no.txt"]).failed(1, &["no.txt", "No such file"]);
}

/// A class that comes first because nothing is greater than NaN is no answer.
#[test]
fn no_answer_from_weights_that_make_no_number() {
    let dir = scratch("no_number");
    let (weights, image) = (dir.join("w.safetensors"), recorded("images/rgb.jpg"));
    for (tensor, value) in [("fc.weight", f32::NAN), ("conv5.1.running_var", -9.0)] {
        save_changed(&small(Wiring::Torchvision, 3), &weights, |name, values| {
            if name == tensor {
                values.fill(value);
            }
        });
        let ran = classify(&weights, &[&image], &["--json"]);
        let answers = json(&ran.out);
        assert_eq!((ran.status, answers.len()), (1, 1));
        assert!(
            answers[0]["top"].is_null() && answers[0]["error"].as_str().unwrap().contains("no number (NaN)")
        );
        assert!(ran.err.contains("rgb.jpg: what the network makes of it is no number"), "{}", ran.err);
    }
}

#[test]
fn the_table_lines_up() {
    let dir = scratch("table");
    let weights = dir.join("w.safetensors");
    save(&small(Wiring::Torchvision, 1000), &weights);
    let image = recorded("images/rgb.png");
    let table = classify(&weights, &[&image], &[]).good();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], image.to_str().unwrap());
    let table: Vec<_> = lines.into_iter().skip(1).filter(|line| !line.is_empty()).collect();
    assert_eq!(table.len(), 2 + 5);
    for head in ["rank", "label", "class", "probability"] {
        assert!(table[0].contains(head));
    }
    let width = table[0].chars().count();
    assert!(table.iter().all(|line| line.chars().count() == width), "{table:#?}");
}

#[test]
fn one_bad_photo_does_not_keep_the_others() {
    let dir = scratch("bad_photos");
    let weights = dir.join("w.safetensors");
    save(&small(Wiring::Megvii, 4), &weights);
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let read = |name: &str| std::fs::read(recorded(name)).unwrap();
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let none = dir.join("none");
    std::fs::create_dir(&none).unwrap();
    let bad = [
        (write("text.jpg", b"no photo"), "a text file, neither JPEG nor PNG nor WebP"),
        (write("empty.png", b""), "the file is empty"),
        (write("cut.png", &half(read("images/rgb.png"))), "cut off"),
        (write("cut.jpg", &half(read("images/rgb.jpg"))), "cut off"),
        (write("cut_progressive.jpg", &half(read("images/progressive.jpg"))), "cut off"),
        (write("cut.webp", &half(read("images/lossy.webp"))), "cut off"),
        (write("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0heic"), "HEIC"),
        (write("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
        (dir.join("missing.jpg"), "No such file"),
        (none, "a folder in which no file is named as photos are"),
        (recorded("images/bomb.png"), "limit"),
        (recorded("images/jpeg/arithmetic.jpg"), "arithmetic coding"),
        (recorded("images/jpeg/three_widths_narrow.jpg"), "sampling factors"),
    ];
    // Decoders have panicked at the third.
    let good = ["images/cmyk.jpg", "images/lossy.webp", "images/jpeg/more_chroma_separate.jpg"].map(recorded);
    let mut images: Vec<&Path> = Vec::new();
    for (index, (path, _)) in bad.iter().enumerate() {
        images.push(path);
        images.extend(good.get(index).map(|path| &**path));
    }
    let is_good = |image: &Path| good.iter().any(|path| image == path);

    for format in ["--json", "--jsonl", "--json-lines"] {
        let ran = classify(&weights, &images, &[format]);
        assert_eq!(ran.status, 1);
        let lines: Vec<_> = ran.err.lines().collect();
        assert_eq!(lines.len(), bad.len(), "{}", ran.err);
        for (line, (image, why)) in lines.iter().zip(&bad) {
            assert!(line.starts_with(&format!("shufflenet: error: {}: ", image.display())), "{line}");
            assert!(line.contains(why) && !line.contains("panicked"), "{line}");
        }
        let answers = if format == "--json" { json(&ran.out) } else { json_lines(&ran.out) };
        assert_eq!(answers.len(), images.len());
        for (answer, image) in answers.iter().zip(&images) {
            assert_eq!(answer["image"], image.to_str().unwrap());
            if is_good(image) {
                assert!(answer.get("error").is_none());
                assert_eq!(answer["top"].as_array().unwrap().len(), 4);
            } else {
                assert!(answer["error"].is_string() && answer.get("top").is_none());
            }
        }
    }
    let ran = classify(&weights, &images, &[]);
    assert_eq!((ran.status, ran.err.lines().count()), (1, bad.len()));
    assert!(ran.out.contains("cmyk.jpg") && !ran.out.contains("missing.jpg"));
    classify(&weights, &[&bad[0].0], &[]).failed(1, &["text.jpg", "neither JPEG nor PNG nor WebP"]);
    let usage = classify(&weights, &images, &["--json", "--jsonl"]);
    usage.failed(2, &["--json", "--jsonl"]);
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn a_photo_from_the_standard_input_and_lines_as_soon_as_photos_are_done() {
    let dir = scratch("standard_input");
    let weights = dir.join("w.safetensors");
    save(&small(Wiring::Torchvision, 4), &weights);
    let (first, second) = (recorded("images/rgb.png"), recorded("images/orientation6.webp"));
    let alone = json(&classify(&weights, &[&first, &second], &["--json"]).good());

    let mut started = command(["classify", "--jsonl", "--weights"]);
    started.arg(&weights).args([&first, Path::new("-")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut started = started.spawn().unwrap();
    let mut out = BufReader::new(started.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    // The first answer is there before the second photo.
    assert_eq!(line(), alone[0]);
    started.stdin.take().unwrap().write_all(&std::fs::read(&second).unwrap()).unwrap();
    let answer = line();
    assert_eq!((&answer["image"], &answer["top"]), (&Value::from("-"), &alone[1]["top"]));
    assert!(started.wait().unwrap().success());

    classify(&weights, &[Path::new("-")], &[]).failed(1, &["standard input: the file is empty"]);
    classify(&weights, &[Path::new("-"), &first, Path::new("-")], &[]).failed(2, &["IMAGE", "once only"]);
}

#[test]
fn a_folder_is_its_photos_in_the_order_of_their_names() {
    let dir = scratch("folder");
    let weights = dir.join("w.safetensors");
    save(&small(Wiring::Torchvision, 4), &weights);
    let folder = dir.join("photos");
    std::fs::create_dir_all(folder.join("below.jpg")).unwrap();
    for (from, to) in [
        ("images/rgb.jpg", "b.JPG"),
        ("images/lossy.webp", "c.webp"),
        ("images/rgb.png", "a.png"),
        ("images/rgb.png.rgb", "notes.txt"),
        ("images/rgb.png", "below.jpg/never.png"),
        ("images/rgb.png.rgb", "._a.png"),
    ] {
        std::fs::copy(recorded(from), folder.join(to)).unwrap();
    }
    let names = |text: &str| -> Vec<String> {
        json(text).iter().map(|answer| answer["image"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["a.png", "b.JPG", "c.webp"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    assert_eq!(names(&classify(&weights, &[&folder], &["--json"]).good()), expected);
    // What looks like a photo and is none is not passed over.
    std::fs::write(folder.join("b.heic"), b"\0\0\0\x18ftypheic\0\0\0\0heic").unwrap();
    let ran = classify(&weights, &[&folder], &["--json"]);
    assert_eq!((ran.status, names(&ran.out).len()), (1, 4));
    assert!(ran.err.contains("b.heic: a HEIC picture") && ran.err.lines().count() == 1, "{}", ran.err);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.join("b.heif")).unwrap();
        let ran = classify(&weights, &[&folder], &["--json"]);
        assert_eq!((ran.status, names(&ran.out).len()), (1, 5));
        assert!(ran.err.contains("b.heif: No such file") && ran.err.lines().count() == 2, "{}", ran.err);
    }
}

#[cfg(unix)]
#[test]
fn photos_of_any_name() {
    use std::os::unix::ffi::OsStrExt;
    let dir = scratch("names");
    let weights = dir.join("w.safetensors");
    save(&small(Wiring::Torchvision, 4), &weights);
    let names: [&[u8]; 4] =
        [b"two words.jpg", b"\xff\xfe.jpg", b"line\nbreak.jpg", "f\u{fc}nf.jpg".as_bytes()];
    for name in names {
        let photo = dir.join(std::ffi::OsStr::from_bytes(name));
        std::fs::copy(recorded("images/rgb.jpg"), &photo).unwrap();
        assert_eq!(json(&classify(&weights, &[&photo], &["--json"]).good()).len(), 1);
        assert_eq!(json_lines(&classify(&weights, &[&photo], &["--jsonl"]).good()).len(), 1);
        classify(&weights, &[&photo], &[]).good();
        std::fs::write(&photo, "").unwrap();
        classify(&weights, &[&photo], &[]).failed(1, &["the file is empty"]);
    }
}

/// `script` of util-linux runs a command on a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_bar_on_a_terminal_only() {
    let dir = scratch("bar");
    let weights = dir.join("w.safetensors");
    save(&small(Wiring::Torchvision, 4), &weights);
    let photo = recorded("images/rgb.jpg");
    // Into a pipe: `good` sees to it that nothing is written beside the answers.
    classify(&weights, &[&photo, &photo, &photo], &["--jsonl"]).good();

    if std::process::Command::new("script").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no `script`");
    }
    let on_a_terminal = |photos: usize, more: &str| {
        let shufflenet = env!("CARGO_BIN_EXE_shufflenet");
        let line = format!(
            "{shufflenet} classify --weights {} {} {more}",
            weights.display(),
            format!("{} ", photo.display()).repeat(photos)
        );
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
        finish(script).good()
    };
    let out = dir.join("out.jsonl");
    let into_a_file = format!("--jsonl >{}", out.display());
    assert!(on_a_terminal(3, &into_a_file).contains("of 3 photos"));
    assert_eq!(json_lines(&std::fs::read_to_string(&out).unwrap()).len(), 3);
    assert!(on_a_terminal(3, "--json").contains("of 3 photos"));
    assert!(!on_a_terminal(1, &into_a_file).contains("photos"));
    // Answers that go to the same terminal tell as much.
    assert!(!on_a_terminal(3, "").contains("of 3 photos"));
}

#[test]
fn photos_of_one_pixel_and_threads() {
    let dir = scratch("one_pixel");
    let (weights, dot) = (dir.join("w.safetensors"), dir.join("dot.png"));
    save(&small(Wiring::Torchvision, 4), &weights);
    image::RgbImage::from_pixel(1, 1, image::Rgb([9, 99, 200])).save(&dot).unwrap();
    let one = classify(&weights, &[&dot, &dot], &["--json"]).good();
    assert_eq!(json(&one).len(), 2);
    assert_eq!(classify(&weights, &[&dot, &dot], &["--json", "--threads", "3"]).good(), one);
    let mut forced = command(["classify", "--json", "--weights"]);
    forced.arg(&weights).args([&dot, &dot]).env("KERNELS_ISA", Isa::best().name());
    assert_eq!(finish(forced).good(), one);
}
