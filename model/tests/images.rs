//! Pictures as Pillow and torchvision see them (recorded/make_fixtures.py), and pictures that harm.
#![cfg(feature = "image")]

use model::photo::{Picture, Recipe};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/images")
}

/// The formula of the recording script.
fn pixels(width: usize, height: usize) -> Picture {
    let at = |i: usize| {
        let (x, y) = (i as u64 % width as u64, i as u64 / width as u64);
        let noise = ((x * 2_654_435_761 + y * 40_503) & 0xffff_ffff) >> 24;
        [((3 * x + 2 * y) % 256) as u8, ((x / 3 + y / 5) % 2 * 255) as u8, noise as u8]
    };
    Picture::from_rgb(width, height, (0..width * height).flat_map(at).collect()).unwrap()
}

/// 64-bit FNV-1a.
fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn torchvision_bit_for_bit() {
    let recorded = std::fs::read_to_string(folder().join("preprocessed.txt")).unwrap();
    let cases: Vec<_> = recorded.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(cases.len() > 20);
    for case in cases {
        let fields: Vec<_> = case.split(' ').collect();
        let number = |i: usize| fields[i].parse::<usize>().unwrap();
        let hash = |i: usize| u64::from_str_radix(fields[i], 16).unwrap();
        let picture = pixels(number(0), number(1));
        let recipe = Recipe { crop: number(3), ..Recipe::torchvision(number(2)) };
        assert_eq!(fnv(recipe.crop(&picture)), hash(4), "bytes of {case}");
        let floats = recipe.apply(&picture);
        assert_eq!(fnv(floats.iter().flat_map(|v| v.to_le_bytes())), hash(5), "floats of {case}");
    }
}

#[test]
fn other_recipes() {
    // One colour stays that colour at any size.
    let colour = [255, 0, 51];
    let picture = Picture::from_rgb(30, 20, colour.repeat(600)).unwrap();
    let planes = |recipe: &Recipe| {
        let input = recipe.apply(&picture);
        assert_eq!(input.len(), 3 * 224 * 224);
        [0, 1, 2].map(|plane| {
            let plane = &input[plane * 224 * 224..][..224 * 224];
            assert!(plane.iter().all(|v| *v == plane[0]));
            plane[0]
        })
    };
    assert_eq!(planes(&Recipe::megvii()), [51.0, 0.0, 255.0]);
    assert_eq!(planes(&Recipe::keras()), [1.0, 0.0, 0.2]);

    // Without antialiasing, halving averages the two middle ones of each four pixels, here 100 and 200.
    let row = [0, 100, 200, 30].map(|v| [v; 3]).concat();
    let picture = Picture::from_rgb(4, 4, row.repeat(4)).unwrap();
    let recipe = Recipe { resize: 1, crop: 1, ..Recipe::megvii() };
    assert_eq!(recipe.crop(&picture), [150; 3]);
}

/// Largest difference between a file's pixels and those that Pillow read from it.
fn difference(name: &str) -> u8 {
    let picture = Picture::open(&folder().join(name)).unwrap();
    let expected = std::fs::read(folder().join(format!("{name}.rgb"))).unwrap();
    let upright = !(5..=8).any(|n| name.contains(&format!("orientation{n}")));
    let size = if upright { (23, 14) } else { (14, 23) };
    assert_eq!((picture.width(), picture.height()), size, "{name}");
    picture.pixels().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn png_of_every_colour_type() {
    let names = "rgb rgba gray gray_alpha bilevel palette palette_transparent gray16 rgb16 gray_alpha16 rgba16 \
                 orientation6";
    for name in names.split_whitespace() {
        assert_eq!(difference(&format!("{name}.png")), 0, "{name}");
    }
}

#[test]
fn jpeg_of_every_kind() {
    // Of the first two, colour has half the resolution, which decoders interpolate each in its own way.
    for (name, limit) in [("rgb", 6), ("progressive", 6), ("gray", 2), ("cmyk", 3)] {
        let difference = difference(&format!("{name}.jpg"));
        assert!(difference <= limit, "{name}: {difference}");
    }
    for orientation in 1..=8 {
        let difference = difference(&format!("orientation{orientation}.jpg"));
        assert!(difference <= 2, "orientation {orientation}: {difference}");
    }
}

fn refused(bytes: &[u8]) -> String {
    let message = Picture::decode(bytes).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn pictures_that_are_refused() {
    let message = refused(&std::fs::read(folder().join("bomb.png")).unwrap());
    assert!(message.contains("limit"), "{message}");
    assert_eq!(refused(b""), "neither a JPEG nor a PNG file");
    assert_eq!(refused(b"P6 1 1 255 abc"), "neither a JPEG nor a PNG file");
    assert_eq!(refused(b"GIF89a\x01\0\x01\0\0\0\0;"), "neither a JPEG nor a PNG file");

    // A width of zero, with the checksum that goes with it.
    let mut png = std::fs::read(folder().join("rgb.png")).unwrap();
    png[16..20].fill(0);
    let crc = png[12..29].iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    refused(&png);

    assert!(Picture::from_rgb(0, 4, Vec::new()).is_err());
    assert!(Picture::from_rgb(1, 1, vec![0; 4]).is_err());
    assert!(Picture::from_rgb(usize::MAX, 2, vec![0; 4]).is_err());
    let message = Picture::open(&folder()).unwrap_err().to_string();
    assert!(message.ends_with("not a regular file"), "{message}");
    let message = Picture::open(&folder().join("nothing.png")).unwrap_err().to_string();
    assert!(message.contains("nothing.png: "), "{message}");
}

#[test]
fn damaged_pictures() {
    for name in ["rgba16.png", "palette.png", "rgb.jpg", "progressive.jpg", "cmyk.jpg", "orientation6.jpg"] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        for len in 0..bytes.len() {
            // A JPEG that ends early may well decode.
            let _ = Picture::decode(&bytes[..len]);
        }
        let mut noise = 1u64;
        for _ in 0..2000 {
            let mut bytes = bytes.clone();
            for _ in 0..3 {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (noise >> 33) as usize % bytes.len();
                bytes[at] = (noise >> 24) as u8;
            }
            let _ = Picture::decode(&bytes);
        }
    }
}

#[test]
fn slivers_cost_no_more_than_others() {
    // Resized as a whole, this would be 256 by sixteen million pixels.
    let sliver = Picture::from_rgb(1, 65_000, [10, 20, 30].repeat(65_000)).unwrap();
    assert_eq!(Recipe::torchvision(256).crop(&sliver), [10, 20, 30].repeat(224 * 224));
    assert_eq!(Recipe::megvii().crop(&sliver), [10, 20, 30].repeat(224 * 224));
}
