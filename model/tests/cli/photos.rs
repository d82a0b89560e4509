//! `shufflenet classify`.

use crate::{command, finish, recorded, run, save, scratch, small};
use kernels::{Isa, Serial};
use model::photo::{Picture, Recipe};
use model::weights::Checkpoint;
use model::{Config, Images, Network, Wiring, labels};
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;

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
    let (text, empty, cut) = (dir.join("text.jpg"), dir.join("empty.png"), dir.join("cut.png"));
    std::fs::write(&text, "no photo").unwrap();
    std::fs::write(&empty, "").unwrap();
    let whole = std::fs::read(recorded("images/rgb.png")).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let good = recorded("images/cmyk.jpg");
    let missing = dir.join("missing.jpg");
    let bomb = recorded("images/bomb.png");
    let bad: [&Path; 6] = [&text, &empty, &cut, &missing, &dir, &bomb];
    let images: Vec<&Path> = bad.into_iter().chain([&*good]).collect();

    let ran = classify(&weights, &images, &["--json"]);
    assert_eq!(ran.status, 1);
    let lines: Vec<_> = ran.err.lines().collect();
    assert_eq!(lines.len(), bad.len(), "{}", ran.err);
    for (line, image) in lines.iter().zip(bad) {
        assert!(line.starts_with(&format!("shufflenet: error: {}: ", image.display())), "{line}");
    }
    let answers = json(&ran.out);
    assert_eq!(answers.len(), images.len());
    for answer in &answers[..bad.len()] {
        assert!(answer["error"].is_string() && answer.get("top").is_none());
    }
    let answer = &answers[bad.len()];
    assert!(answer.get("error").is_none());
    assert_eq!(answer["top"].as_array().unwrap().len(), 4);

    let ran = classify(&weights, &images, &[]);
    assert_eq!((ran.status, ran.err.lines().count()), (1, bad.len()));
    assert!(ran.out.contains("cmyk.jpg") && !ran.out.contains("missing.jpg"));
    classify(&weights, &[&text], &[]).failed(1, &["text.jpg", "neither a JPEG nor a PNG"]);
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
