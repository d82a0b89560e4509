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
    largest_difference(&picture, &expected)
}

fn largest_difference(picture: &Picture, expected: &[u8]) -> u8 {
    assert_eq!(picture.pixels().len(), expected.len());
    picture.pixels().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

#[test]
fn png_of_every_colour_type() {
    let names = "rgb rgba gray gray_alpha bilevel palette palette_transparent gray16 rgb16 gray_alpha16 rgba16 \
                 orientation6 interlaced_rgb interlaced_rgba16 interlaced_palette4 interlaced_gray1";
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

#[test]
fn webp_of_every_kind() {
    for name in ["lossy", "lossy_alpha", "lossless", "lossless_alpha", "gray", "animated", "orientation6"] {
        assert_eq!(difference(&format!("{name}.webp")), 0, "{name}");
    }
}

/// A TIFF header and a directory with a tag before the orientation.
fn exif(orientation: u8, big_endian: bool, long: bool) -> Vec<u8> {
    let short = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let four = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let value = if long {
        four(orientation.into())
    } else {
        [short(orientation.into()), [0; 2]].concat().try_into().unwrap()
    };
    let mut data = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    data.extend(four(8));
    data.extend(short(2));
    data.extend([&short(0x0100)[..], &short(4), &four(1), &four(23)].concat());
    data.extend([&short(0x0112)[..], &short(if long { 4 } else { 3 }), &four(1), &value].concat());
    data.extend([0; 4]);
    data
}

/// rgb.jpg, rgb.png or lossy.webp with this EXIF data.
fn with_exif(kind: &str, data: &[u8]) -> Vec<u8> {
    match kind {
        "jpg" => jpeg_with(&[&[b"Exif\0\0", data].concat()]),
        "png" => {
            let file = read("rgb.png");
            // Behind the signature and the header.
            [&file[..33], &chunk(b"eXIf", data), &file[33..]].concat()
        }
        _ => {
            let file = read("lossy.webp");
            let riff = |kind: &[u8], data: &[u8]| {
                let padding = vec![0; data.len() % 2];
                [kind, &(data.len() as u32).to_le_bytes(), data, &padding].concat()
            };
            // EXIF is announced; width and height less one in three bytes each.
            let header = [8, 0, 0, 0, 22, 0, 0, 13, 0, 0];
            let content = [b"WEBP", &riff(b"VP8X", &header)[..], &file[12..], &riff(b"EXIF", data)].concat();
            riff(b"RIFF", &content)
        }
    }
}

/// orientation1.jpg with these APP1 segments in place of its own.
fn jpeg_with(segments: &[&[u8]]) -> Vec<u8> {
    let file = read("orientation1.jpg");
    let own = file.windows(2).position(|marker| marker == b"\xff\xe1").unwrap();
    let length = 2 + usize::from(u16::from_be_bytes([file[own + 2], file[own + 3]]));
    let segment = |data: &&[u8]| [b"\xff\xe1", &(data.len() as u16 + 2).to_be_bytes()[..], data].concat();
    [&file[..own], &segments.iter().flat_map(segment).collect::<Vec<u8>>(), &file[own + length..]].concat()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let content = [kind, data].concat();
    let crc = content.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    [&(data.len() as u32).to_be_bytes(), &content[..], &(!crc).to_be_bytes()].concat()
}

/// The pixels of a picture of 23 x 14, mirrored and turned as EXIF's specification words it: which side of the scene the
/// first row and the first column show.
fn turned(upright: &[u8], orientation: u8) -> Vec<u8> {
    let at = |x: usize, y: usize| upright[3 * (23 * y + x)..][..3].to_vec();
    // Orientations say how the stored picture lies; this is the inverse of storing it so.
    let (width, height) = if (5..=8).contains(&orientation) { (14, 23) } else { (23, 14) };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let stored = pixels.map(|(x, y)| match orientation {
        2 => at(22 - x, y),
        3 => at(22 - x, 13 - y),
        4 => at(x, 13 - y),
        5 => at(y, x),
        6 => at(y, 13 - x),
        7 => at(22 - y, 13 - x),
        8 => at(22 - y, x),
        _ => at(x, y),
    });
    stored.flatten().collect()
}

#[test]
fn exif_orientation_in_any_byte_order_type_and_format() {
    for kind in ["jpg", "png", "webp"] {
        let upright = Picture::decode(&with_exif(kind, b"")).unwrap();
        for orientation in 0..=9 {
            for (big_endian, long) in [(false, false), (false, true), (true, false), (true, true)] {
                let data = exif(orientation, big_endian, long);
                for data in [data.clone(), [b"Exif\0\0", &data[..]].concat()] {
                    if kind == "jpg" && data.starts_with(b"Exif") {
                        continue;
                    }
                    let picture = Picture::decode(&with_exif(kind, &data)).unwrap();
                    let name = format!("{kind} {orientation} {big_endian} {long}");
                    assert_eq!(picture.pixels(), turned(upright.pixels(), orientation), "{name}");
                    let sizes = if (5..=8).contains(&orientation) { (14, 23) } else { (23, 14) };
                    assert_eq!((picture.width(), picture.height()), sizes, "{name}");
                }
            }
        }
        // As Pillow turns them, for the one that is photographed most.
        let expected = read("orientation6.jpg.rgb");
        if kind == "jpg" {
            let picture = Picture::decode(&with_exif(kind, &exif(6, true, true))).unwrap();
            assert!(largest_difference(&picture, &expected) <= 2);
        }
        // Behind the pixels, and with a wrong checksum there.
        if kind == "png" {
            let file = read("rgb.png");
            let mut data = chunk(b"eXIf", &exif(6, false, false));
            *data.last_mut().unwrap() ^= 1;
            let picture = Picture::decode(&[&file[..file.len() - 12], &data].concat()).unwrap();
            assert_eq!(picture.pixels(), turned(upright.pixels(), 6));
        }
    }
}

#[test]
fn exif_numbers_of_every_type() {
    let upright = Picture::decode(&with_exif("png", b"")).unwrap();
    // Type, number of values, their bytes, the orientation that they are.
    let cases: [(u16, u32, &[u8], u8); 21] = [
        (6, 1, b"\x06", 6),
        (8, 1, b"\x06\0", 6),
        (9, 1, b"\x06\0\0\0", 6),
        (3, 2, b"\x06\0\x03\0", 6),
        (3, 3, b"\x06\0\x03\0\x03\0", 6),
        (4, 2, b"\x06\0\0\0\x03\0\0\0", 6),
        (5, 1, b"\x0c\0\0\0\x02\0\0\0", 6),
        (10, 1, b"\x06\0\0\0\x01\0\0\0", 6),
        (11, 1, &6f32.to_le_bytes(), 6),
        (12, 1, &6f64.to_le_bytes(), 6),
        // Between two orientations, none, or no number.
        (5, 1, b"\x0d\0\0\0\x02\0\0\0", 1),
        (5, 1, b"\x06\0\0\0\0\0\0\0", 1),
        (11, 1, &6.5f32.to_le_bytes(), 1),
        (11, 1, &f32::INFINITY.to_le_bytes(), 1),
        (12, 1, &f64::NAN.to_le_bytes(), 1),
        (6, 1, b"\xfa", 1),
        (1, 1, b"\x06", 1),
        (2, 2, b"6\0", 1),
        (7, 1, b"\x06", 1),
        (3, 0, b"\x06\0", 1),
        // More than there is.
        (3, 9, b"\x06\0\x03\0\x03\0", 1),
    ];
    for (kind, count, values, expected) in cases {
        let mut place = 26u32.to_le_bytes().to_vec();
        if values.len() <= 4 {
            place = [values, &[0; 4][values.len()..]].concat();
        }
        let entry = [&[0x12, 1][..], &kind.to_le_bytes(), &count.to_le_bytes(), &place].concat();
        let behind = if values.len() <= 4 { &[][..] } else { values };
        for header in [b"II*\0", b"II\0*"] {
            let data = [&header[..], b"\x08\0\0\0\x01\0", &entry, &[0; 4], behind].concat();
            let picture = Picture::decode(&with_exif("png", &data)).unwrap();
            assert_eq!(picture.pixels(), turned(upright.pixels(), expected), "{kind} {count} {values:?}");
        }
    }
    let mut data = exif(6, true, true);
    data[2..4].copy_from_slice(b"*\0");
    let picture = Picture::decode(&with_exif("png", &data)).unwrap();
    assert_eq!(picture.pixels(), turned(upright.pixels(), 6));
}

/// ImageMagick and others write EXIF so into PNG files.
#[test]
fn exif_in_a_text_of_digits() {
    let file = read("rgb.png");
    let upright = Picture::decode(&file).unwrap();
    let exif = [b"Exif\0\0", &exif(6, true, false)[..]].concat();
    let digits: String = exif.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<&str> = digits.as_bytes().chunks(72).map(|line| str::from_utf8(line).unwrap()).collect();
    let text = format!("\nexif\n{:8}\n{}\n", exif.len(), lines.join("\n"));
    let keyword = b"Raw profile type exif\0";
    let plain = [keyword, text.as_bytes()].concat();
    let compressed =
        |text: &[u8]| [keyword, &b"\0"[..], &miniz_oxide::deflate::compress_to_vec_zlib(text, 6)].concat();
    let decoded = |kind: &[u8; 4], text: &[u8], before: bool| {
        let at = if before { 33 } else { file.len() - 12 };
        Picture::decode(&[&file[..at], &chunk(kind, text), &file[at..]].concat()).unwrap()
    };
    for before in [true, false] {
        for (kind, text) in [(b"tEXt", plain.clone()), (b"zTXt", compressed(text.as_bytes()))] {
            assert_eq!(decoded(kind, &text, before).pixels(), turned(upright.pixels(), 6));
        }
    }
    let bomb = compressed(&[text.as_bytes(), &vec![b' '; 1 << 20]].concat());
    for (kind, text) in [
        (b"tEXt", &plain[..plain.len() / 2]),
        (b"tEXt", b"Raw profile type exif\0"),
        (b"tEXt", b"Raw profile type exif\0\nexif\n8\n45786966zz\n"),
        (b"zTXt", &plain),
        (b"zTXt", &bomb),
        (b"tEXt", &bomb),
    ] {
        assert_eq!(decoded(kind, text, true), upright);
    }
}

#[test]
fn damaged_exif_is_ignored() {
    let good = exif(6, false, false);
    let mut cases: Vec<Vec<u8>> = (0..good.len() - 4).map(|len| good[..len].to_vec()).collect();
    for (at, bytes) in [
        (0, &b"XX"[..]),
        (2, b"+"),
        (4, b"\xff\xff\xff\xff"),
        (4, b"\x2a\0\0\0"),
        (24, b"\x07"),
        (26, b"\0\0\0\0"),
        (26, b"\xff\xff\xff\xff"),
        (30, b"\xff\xff"),
    ] {
        let mut data = good.clone();
        data[at..at + bytes.len()].copy_from_slice(bytes);
        cases.push(data);
    }
    for kind in ["jpg", "png", "webp"] {
        let upright = Picture::decode(&with_exif(kind, b"")).unwrap();
        for data in &cases {
            let picture = Picture::decode(&with_exif(kind, data));
            assert_eq!(
                picture.unwrap_or_else(|e| panic!("{kind} {data:02x?}: {e}")),
                upright,
                "{kind} {data:02x?}"
            );
        }
        // A directory that says it is longer than the file.
        let mut data = good.clone();
        data[8..10].copy_from_slice(b"\xff\xff");
        let picture = Picture::decode(&with_exif(kind, &data)).unwrap();
        assert_eq!(picture.pixels(), turned(upright.pixels(), 6), "{kind}");
    }
}

#[test]
fn xmp_tells_the_orientation_where_exif_does_not() {
    let upright = Picture::decode(&jpeg_with(&[])).unwrap();
    let xmp = |text: &str| [b"http://ns.adobe.com/xap/1.0/\0", text.as_bytes()].concat();
    let exif = |orientation| [b"Exif\0\0", &exif(orientation, false, false)[..]].concat();
    for (segments, expected) in [
        (vec![xmp("<rdf tiff:Orientation=\"6\"/>")], 6),
        (vec![xmp("<tiff:Orientation>8</tiff:Orientation>")], 8),
        (vec![xmp("tiff:Orientation=\"x\" tiff:Orientation=\"3\"")], 3),
        (vec![xmp("tiff:Orientation=\"9\"")], 1),
        (vec![xmp("tiff:Orientation")], 1),
        (vec![xmp("tiff:Orientation=\"6\""), exif(3)], 3),
        (vec![exif(1), xmp("tiff:Orientation=\"6\"")], 1),
        (vec![exif(6), exif(3)], 6),
        (vec![b"Exif".to_vec(), Vec::new()], 1),
    ] {
        let segments: Vec<&[u8]> = segments.iter().map(|segment| &segment[..]).collect();
        let picture = Picture::decode(&jpeg_with(&segments)).unwrap();
        assert_eq!(picture.pixels(), turned(upright.pixels(), expected), "{segments:?}");
    }
}

/// What of a damaged PNG file is refused is what Pillow refuses.
#[test]
fn png_files_with_something_missing() {
    let whole = read("rgb.png");
    let expected = Picture::decode(&whole).unwrap();
    let data = whole.windows(4).position(|kind| kind == b"IDAT").unwrap();
    let length = u32::from_be_bytes(whole[data - 4..data].try_into().unwrap()) as usize;
    let (end, header) = (data + 4 + length, &whole[..33]);
    let changed = |at: usize| {
        let mut file = whole.clone();
        file[at] ^= 0x10;
        file
    };
    let pixels = &whole[data + 4..end];
    let gamma = chunk(b"gAMA", &45_455u32.to_be_bytes());
    let mut wrong = gamma.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let split: Vec<u8> = pixels.chunks(7).flat_map(|part| chunk(b"IDAT", part)).collect();
    for (what, file) in [
        ("no end", whole[..end + 4].to_vec()),
        ("no end, and no checksum of the pixels", whole[..end].to_vec()),
        ("half of an end", whole[..whole.len() - 5].to_vec()),
        ("a wrong checksum of the chunk of pixels", changed(end)),
        ("a wrong checksum behind the pixels", [&whole[..end + 4], &wrong].concat()),
        ("something behind the end", [&whole[..], b"something"].concat()),
        ("pixels in many chunks", [header, &split].concat()),
        ("a chunk that nobody knows", [header, &chunk(b"ABCD", b"e"), &whole[33..]].concat()),
        (
            "a colour that is transparent",
            [header, &chunk(b"tRNS", &[0, 1, 0, 2, 0, 3]), &whole[33..]].concat(),
        ),
    ] {
        let picture = Picture::decode(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(picture, expected, "{what}");
    }
    for (what, file, why) in [
        ("a wrong checksum of the header", changed(29), "checksum of its chunk IHDR"),
        (
            "a wrong checksum before the pixels",
            [header, &wrong, &whole[33..]].concat(),
            "checksum of its chunk gAMA",
        ),
        ("a wrong checksum of the pixels", changed(end - 1), "damaged"),
        (
            "pixels with something between them",
            [header, &chunk(b"IDAT", &pixels[..9]), &gamma, &chunk(b"IDAT", &pixels[9..])].concat(),
            "cut off",
        ),
        ("a header alone", header.to_vec(), "cut off"),
        ("nothing between header and end", [header, &chunk(b"IEND", b"")].concat(), "without pixels"),
        ("an iOS program's own", [&whole[..8], &chunk(b"CgBI", &[0; 4]), &whole[8..]].concat(), "iOS"),
    ] {
        let message = Picture::decode(&file).err().unwrap_or_else(|| panic!("{what}")).to_string();
        assert!(message.contains(why), "{what}: {message}");
    }
    // Of the last bytes, four are a checksum, and some may say no more than that there is no more.
    for len in 8..end - 8 {
        let message = Picture::decode(&whole[..len]).unwrap_err().to_string();
        assert!(message.contains("cut off"), "{len}: {message}");
    }
}

#[test]
fn webp_files_that_are_cut_off() {
    for name in ["lossy", "lossy_alpha", "lossless", "animated", "orientation6"] {
        let whole = read(&format!("{name}.webp"));
        for len in 12..whole.len() {
            let message = Picture::decode(&whole[..len]).unwrap_err().to_string();
            assert!(
                message.contains(&format!("cut off: {len} bytes of {}", whole.len())),
                "{name}: {message}"
            );
        }
        let behind = [&whole[..], b"something"].concat();
        assert_eq!(Picture::decode(&behind).unwrap(), Picture::decode(&whole).unwrap(), "{name}");
    }
}

fn refused(bytes: &[u8]) -> String {
    let message = Picture::decode(bytes).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn other_kinds_of_files_are_named() {
    for (start, what, advice) in [
        (&b"\0\0\0\x1cftypheic\0\0\0\0mif1heic"[..], "HEIC", "convert"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC", "convert"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF", "convert"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF", "convert"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video", "frame"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw file", "export"),
        (b"GIF89a\x01\0\x01\0\0\0\0;", "GIF", "convert"),
        (b"BM\x3a\0\0\0\0\0\0\0", "BMP", "convert"),
        (b"II*\0\x08\0\0\0", "TIFF", "convert"),
        (b"MM\0*\0\0\0\x08", "TIFF", "convert"),
        (b"%PDF-1.7\n", "PDF", "export"),
        (b"P6 1 1 255 abc", "PNM", "convert"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL", "convert"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "convert"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "convert"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\">", "SVG", "convert"),
        (b"<?xml version=\"1.0\"?>\n<svg/>", "SVG", "convert"),
        (b"<!DOCTYPE html>\n<html><body>404", "HTML", "address"),
        (b"\xef\xbb\xbf\r\n <HTML>", "HTML", "address"),
        (b"<Error><Code>AccessDenied</Code></Error>", "XML", "address"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer", "git lfs pull"),
        (b"PK\x03\x04\x14\0", "zip", "unpack"),
        (b"\x93NUMPY\x01\0", "NumPy", "logits"),
        (b"no photo\n", "text file", "name"),
        (b"\x07\x08\x09", "unknown kind", "damaged"),
        (b"\xff", "unknown kind", "damaged"),
        (b"RIFF\x04\0\0\0WAVE", "unknown kind", "damaged"),
    ] {
        let message = refused(start);
        for part in [what, advice, "neither JPEG nor PNG nor WebP"] {
            assert!(message.contains(part), "{message}, expected {part:?}");
        }
    }
    assert_eq!(refused(b""), "the file is empty");
}

#[test]
fn pictures_that_are_refused() {
    let message = refused(&read("bomb.png"));
    assert!(message.contains("65500 x 65500 pixels are beyond the limit"), "{message}");
    // In a lossless WebP file, width and height less one are numbers of 14 bits.
    let sides = (14_999u32 | 14_999 << 14).to_le_bytes();
    let message = refused(&[b"RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2f", &sides[..], b"\0"].concat());
    assert!(message.contains("15000 x 15000 pixels are beyond the limit"), "{message}");

    let png = read("rgb.png");
    let header = |width: u32| {
        let data = [&width.to_be_bytes(), &png[20..29]].concat();
        refused(&[&png[..8], &chunk(b"IHDR", &data), &png[33..]].concat())
    };
    header(0);
    header(u32::MAX);

    assert!(Picture::from_rgb(0, 4, Vec::new()).is_err());
    assert!(Picture::from_rgb(1, 1, vec![0; 4]).is_err());
    assert!(Picture::from_rgb(usize::MAX, 2, vec![0; 4]).is_err());
    let message = Picture::open(&folder()).unwrap_err().to_string();
    assert!(message.ends_with("images: a folder, not a photo"), "{message}");
    let message = Picture::open(&folder().join("nothing.png")).unwrap_err().to_string();
    assert!(message.contains("nothing.png: "), "{message}");
}

#[test]
fn whatever_can_be_read_to_its_end_may_be_a_photo() {
    let bytes = read("rgb.jpg");
    assert_eq!(Picture::read(&bytes[..]).unwrap(), Picture::decode(&bytes).unwrap());
    let message = Picture::read(std::io::repeat(0)).unwrap_err().to_string();
    assert!(message.contains("512 MiB"), "{message}");
    let broken = Picture::read(std::io::Read::chain(&b"\xff"[..], Broken)).unwrap_err().to_string();
    assert!(broken.contains("wire cut"), "{broken}");
}

/// Fails whenever it is read.
struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("wire cut"))
    }
}

#[test]
fn damaged_pictures() {
    let names = "rgba16.png palette.png interlaced_rgb.png rgb.jpg progressive.jpg cmyk.jpg orientation6.jpg \
                 jpeg/2x2_separate_restarts.jpg jpeg/more_chroma_progressive.jpg jpeg/ycck_2x2.jpg lossy_alpha.webp \
                 lossless.webp lossless_alpha.webp animated.webp orientation6.webp";
    for name in names.split_whitespace() {
        let bytes = read(name);
        let mut noise = 1u64;
        for _ in 0..400 {
            let mut bytes = bytes.clone();
            for _ in 0..3 {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (noise >> 33) as usize % bytes.len();
                bytes[at] = (noise >> 24) as u8;
            }
            // Damage that changes colours is not noticed. What a decoder panics at, it is told to be blamed for.
            if let Err(e) = Picture::decode(&bytes) {
                assert!(!e.to_string().contains('\n'), "{name}: {e}");
            }
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
