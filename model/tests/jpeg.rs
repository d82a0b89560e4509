//! JPEG files of every kind: those recorded by recorded/make_photos.py, and all that `cjpeg` writes where it is
//! installed, held against `djpeg`.
#![cfg(feature = "image")]

use model::photo::Picture;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/images/jpeg").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Width, height and RGB of a PPM or PGM file.
fn pnm(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut fields = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
    let mut field = || std::str::from_utf8(fields.next().unwrap()).unwrap();
    let kind = field();
    let (width, height) = (field().parse().unwrap(), field().parse().unwrap());
    let samples = &bytes[bytes.len() - width * height * if kind == "P6" { 3 } else { 1 }..];
    let rgb = if kind == "P6" { samples.to_vec() } else { samples.iter().flat_map(|&y| [y; 3]).collect() };
    (width, height, rgb)
}

/// Mean difference to a picture of the same size.
fn difference(found: &Picture, expected: &(usize, usize, Vec<u8>)) -> f64 {
    let (width, height, rgb) = expected;
    assert_eq!((found.width(), found.height()), (*width, *height));
    let sum: u64 = found.pixels().iter().zip(rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / rgb.len() as f64
}

#[test]
fn recorded_files_of_rare_kinds() {
    let source = Picture::decode(&recorded("source.png")).unwrap();
    let source = (source.width(), source.height(), source.pixels().to_vec());
    for name in
        "1x1_progressive_restarts 1x2_chroma_last 2x1_luma_first 2x1_restarts 2x2 2x2_refined 2x2_separate \
                 2x2_separate_restarts 3x1 4x2_progressive cmyk_2x2 more_chroma more_chroma_progressive \
                 more_chroma_separate rgb_separate_restarts three_widths three_widths_separate ycck_2x2"
            .split_whitespace()
    {
        let picture = Picture::decode(&recorded(&format!("{name}.jpg")));
        let difference = difference(&picture.unwrap_or_else(|e| panic!("{name}: {e}")), &source);
        // Of colour at half resolution and compression.
        assert!(difference < 2.0, "{name}: {difference}");
    }
    for (name, why) in [
        ("arithmetic", "arithmetic coding"),
        ("arithmetic_progressive", "arithmetic coding"),
        ("three_widths_narrow", "sampling factors 2x1 beside 4x1"),
    ] {
        let message = Picture::decode(&recorded(&format!("{name}.jpg"))).unwrap_err().to_string();
        assert!(message.contains(why), "{name}: {message}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let names =
        "2x2 2x2_separate 2x2_refined 2x1_restarts more_chroma_progressive cmyk_2x2 rgb_separate_restarts";
    for name in names.split_whitespace() {
        let whole = recorded(&format!("{name}.jpg"));
        for len in 3..whole.len() {
            let message = Picture::decode(&whole[..len]).unwrap_err().to_string();
            assert_eq!(message, "a JPEG file that is cut off", "{name}, {len} bytes of {}", whole.len());
        }
        // What lies behind the end does not matter: phones put pictures and films there.
        let expected = Picture::decode(&whole).unwrap();
        for behind in [&b"\0\0\0\0"[..], &whole, &whole[..whole.len() / 2]] {
            assert_eq!(Picture::decode(&[&whole, behind].concat()).unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn what_markers_say_is_checked() {
    let whole = recorded("2x2.jpg");
    let frame = whole.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    let scan = whole.windows(2).position(|pair| pair == b"\xff\xda").unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Picture::decode(&file).unwrap_err().to_string()
    };
    for (at, bytes, why) in [
        (frame + 1, &[0xc1, 0, 17, 12][..], "12 bits per sample"),
        (frame + 1, &[0xc3], "lossless"),
        (frame + 1, &[0xc5], "hierarchical"),
        (frame + 1, &[0xc9], "arithmetic"),
        (frame + 1, &[0xf7], "JPEG-LS"),
        (frame + 1, &[0xfe], "before its frame"),
        (frame + 5, &[0, 0], "83 x 0 pixels"),
        (frame + 5, &[0xff, 0xff, 0xff, 0xff], "limit"),
        // Within the limits of a side, and 12 GiB of them.
        (frame + 5, &[0xff, 0, 0xff, 0], "limit of 512 MiB"),
        (frame + 9, &[2], "2 components"),
        (frame + 9, &[200], "200 components"),
        (frame + 11, &[0x50], "sampling"),
        (frame + 11, &[0x01], "sampling"),
        (scan + 2, &[0, 1], "length"),
        (scan + 4, &[0], "scan"),
        (scan + 4, &[9], "scan"),
        (scan + 4, &[1], "without a scan"),
        (scan + 5, &[77], "unknown component"),
    ] {
        let message = changed(at, bytes);
        assert!(message.contains(why), "{message}, expected {why:?}");
    }
    let twice = [&whole[..scan], &whole[frame..]].concat();
    assert!(Picture::decode(&twice).unwrap_err().to_string().contains("two frames"));
    assert!(Picture::decode(b"\xff\xd8\xff\xd9").is_err());
    // A small file that asks for much work: the scan of a large progressive picture again and again.
    let mut bomb = recorded("2x2_refined.jpg");
    let frame = bomb.windows(2).position(|pair| pair == b"\xff\xc2").unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x20, 0]);
    let scan = bomb.windows(2).position(|pair| pair == b"\xff\xda").unwrap();
    let header = bomb[scan..scan + 2 + usize::from(bomb[scan + 3])].to_vec();
    let bomb = [&bomb[..scan], &header.repeat(4000), &bomb[scan..]].concat();
    let message = Picture::decode(&bomb).unwrap_err().to_string();
    assert!(message.contains("scans: too many"), "{message}");
}

/// Decoders go on where a restart marker is lost, with the wrong blocks.
#[test]
fn restart_markers_are_all_there() {
    for name in ["2x1_restarts", "1x1_progressive_restarts", "2x2_separate_restarts"] {
        let whole = recorded(&format!("{name}.jpg"));
        let expected = Picture::decode(&whole).unwrap();
        let places: Vec<usize> = (0..whole.len() - 1)
            .filter(|&at| whole[at] == 0xff && matches!(whole[at + 1], 0xd0..=0xd7))
            .collect();
        assert!(places.len() > 3, "{name}");
        for &at in &places {
            let lost = [&whole[..at], &whole[at + 2..]].concat();
            let message = Picture::decode(&lost).unwrap_err().to_string();
            assert!(message.contains("restart marker"), "{name}: {message}");
            let mut other = whole.clone();
            other[at + 1] ^= 4;
            let message = Picture::decode(&other).unwrap_err().to_string();
            assert!(message.contains("in place of"), "{name}: {message}");
        }
        // Cameras write one at the end, too.
        let end = whole.len() - 2;
        let more = [&whole[..end], b"\xff\xd3", &whole[end..]].concat();
        assert_eq!(Picture::decode(&more).unwrap(), expected, "{name}");
        let too_many = [&whole[..end], b"\xff\xd3\xff\xd4", &whole[end..]].concat();
        assert!(Picture::decode(&too_many).is_err(), "{name}");
    }
}

#[test]
fn restart_markers_that_nobody_announced() {
    for name in ["2x2", "2x2_refined", "more_chroma"] {
        let whole = recorded(&format!("{name}.jpg"));
        let scan = whole.windows(2).rposition(|pair| pair == b"\xff\xda").unwrap();
        let data = scan + 2 + usize::from(whole[scan + 3]);
        // One at the end is harmless; elsewhere it stops some decoders, and not others.
        let with_one = |at: usize| Picture::decode(&[&whole[..at], b"\xff\xd0", &whole[at..]].concat());
        assert_eq!(with_one(whole.len() - 2).unwrap(), Picture::decode(&whole).unwrap(), "{name}");
        let middle = (data + whole.len()) / 2;
        let at = (middle..).find(|&at| whole[at - 1] != 0xff).unwrap();
        let message = with_one(at).unwrap_err().to_string();
        assert!(message.contains("a restart marker where there should be none"), "{name}: {message}");
    }
}

/// Files that were cut off, and got an end marker from whoever found them so.
#[test]
fn data_that_end_before_the_end_marker() {
    let names = "2x2 2x2_separate 2x2_refined 2x1_restarts more_chroma more_chroma_progressive cmyk_2x2 ycck_2x2 \
                 three_widths 4x2_progressive 1x2_chroma_last rgb_separate_restarts";
    for name in names.split_whitespace() {
        let whole = recorded(&format!("{name}.jpg"));
        let scans = (0..whole.len()).filter(|&at| whole[at..].starts_with(b"\xff\xda"));
        for (place, scan) in scans.enumerate() {
            let data = scan + 2 + usize::from(whole[scan + 3]);
            let is_end = |at: &usize| whole[*at] == 0xff && !matches!(whole[at + 1], 0 | 0xd0..=0xd7);
            let next = (data..).find(is_end).unwrap();
            // Of a scan that has but one more bit for each value, nobody can tell.
            if next - data < 60 {
                continue;
            }
            for quarters in 0..=3 {
                let mut end = data + (next - data) * quarters / 4;
                end -= usize::from(whole[end - 1] == 0xff);
                let mut behind = vec![&b"\xff\xd9"[..]];
                if place > 0 {
                    behind.push(&whole[next..]);
                }
                for behind in behind {
                    let Err(error) = Picture::decode(&[&whole[..end], behind].concat()) else {
                        panic!("{name}, {quarters} quarters of scan {place} and {} bytes", behind.len());
                    };
                    assert!(error.to_string().starts_with("a JPEG file that is damaged"), "{name}: {error}");
                }
            }
        }
    }
    // A picture that claims to be higher.
    let mut higher = recorded("2x2.jpg");
    let frame = higher.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    higher[frame + 5] = 1;
    assert!(Picture::decode(&higher).is_err());
}

/// Cameras that film send frames without Huffman tables: everybody knows which they are.
#[test]
fn frames_of_films_need_no_tables() {
    // `cjpeg` writes the same tables where it is not told to find better ones.
    let whole = recorded("2x2.jpg");
    let mut frame = whole.clone();
    while let Some(at) = frame.windows(2).position(|marker| marker == b"\xff\xc4") {
        let length = 2 + usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]));
        frame.drain(at..at + length);
    }
    assert!(frame.len() < whole.len() - 400);
    let expected = Picture::decode(&whole).unwrap();
    let expected = (expected.width(), expected.height(), expected.pixels().to_vec());
    assert!(difference(&Picture::decode(&frame).unwrap(), &expected) < 1.0);
}

/// How libjpeg takes colours: by JFIF, Adobe's marker and the components' names.
#[test]
fn colours_are_those_that_libjpeg_takes() {
    let rgb = recorded("rgb_separate_restarts.jpg");
    let ycc = recorded("2x2.jpg");
    let red = |file: &[u8]| Picture::decode(file).unwrap().pixels()[0];
    let adobe = |transform: u8| [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0", &[transform][..]].concat();
    let with = |file: &[u8], segment: &[u8]| [&file[..2], segment, &file[2..]].concat();
    // Without JFIF's segment, which `cjpeg` writes for YCbCr only, and Adobe's, which it writes for RGB only.
    let without = |file: &[u8]| {
        let length = 2 + usize::from(u16::from_be_bytes([file[4], file[5]]));
        [&file[..2], &file[2 + length..]].concat()
    };
    let (bare_rgb, bare_ycc) = (without(&rgb), without(&ycc));
    assert_eq!(red(&bare_rgb), red(&rgb), "R, G and B are names");
    assert_eq!(red(&bare_ycc), red(&ycc), "1, 2 and 3 are, too");
    assert_eq!(red(&with(&bare_ycc, &adobe(1))), red(&ycc));
    assert_ne!(red(&with(&bare_ycc, &adobe(0))), red(&ycc), "taken for RGB");
    assert_eq!(red(&with(&ycc, &adobe(0))), red(&ycc), "JFIF goes before");
    assert_ne!(red(&with(&bare_rgb, &adobe(1))), red(&rgb), "taken for YCbCr");
    assert_ne!(
        red(&with(&bare_ycc, &adobe(0))),
        red(&with(&bare_ycc, &adobe(7))),
        "7 is YCbCr, with a warning"
    );
    let ycck = recorded("ycck_2x2.jpg");
    let at = ycck.windows(5).position(|name| name == b"Adobe").unwrap();
    let mut cmyk = ycck.clone();
    cmyk[at + 11] = 0;
    assert_ne!(red(&cmyk), red(&ycck));
}

/// Runs a command and returns what it writes, nothing where it fails.
fn run(command: &mut Command) -> Option<Vec<u8>> {
    let output = command.output().expect("the command starts");
    output.status.success().then_some(output.stdout)
}

/// Whether `cjpeg` and `djpeg` are there. JPEG_REQUIRE_CJPEG=1 makes their absence an error.
fn installed() -> bool {
    let all = ["cjpeg", "djpeg"].iter().all(|name| Command::new(name).arg("-version").output().is_ok());
    assert!(all || std::env::var_os("JPEG_REQUIRE_CJPEG").is_none(), "cjpeg and djpeg are not installed");
    all
}

const SAMPLINGS: [&str; 28] = [
    "1x1",
    "2x1",
    "1x2",
    "2x2",
    "4x1",
    "1x4",
    "3x1",
    "1x3",
    "4x2",
    "2x4",
    "3x2",
    "1x1,2x2,2x2",
    "1x1,2x1,2x1",
    "1x1,1x2,1x2",
    "2x2,1x1,2x1",
    "2x2,2x1,1x2",
    "2x2,1x2,1x1",
    "2x1,1x2,1x1",
    "2x2,2x2,1x1",
    "2x1,1x1,2x1",
    "2x2,2x1,2x1",
    "1x1,1x1,2x2",
    "3x1,1x1,3x1",
    "4x1,2x1,1x1",
    "4x1,1x1,2x1",
    "1x4,1x2,1x1",
    "2x2,4x1,1x1",
    "1x1,4x1,2x1",
];

/// Everything that `cjpeg` writes is the picture that `djpeg` reads from it, or an error that says why.
#[test]
fn all_that_cjpeg_writes() {
    if !installed() {
        return eprintln!("skipped: cjpeg and djpeg are not installed");
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jpeg");
    std::fs::create_dir_all(&dir).unwrap();
    let script = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let separate = script("separate", "0;\n1;\n2;\n");
    let luma_first = script("luma_first", "0;\n1 2;\n");
    let chroma_last = script("chroma_last", "0 1;\n2;\n");
    let progressive = script("progressive", "0: 0-0;\n1: 0-0;\n2: 0-0;\n0: 1-63;\n1: 1-63;\n2: 1-63;\n");
    let refined = script(
        "refined",
        "0,1,2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n2: 1-63, 0, 1;\n1: 1-63, 0, 1;\n0: 6-63, 0, 2;\n0: 1-63, 2, 1;\n\
         0,1,2: 0-0, 1, 0;\n2: 1-63, 1, 0;\n1: 1-63, 1, 0;\n0: 1-63, 1, 0;\n",
    );
    let modes: [&[&str]; 16] = [
        &[],
        &["-optimize", "-quality", "97"],
        &["-quality", "15"],
        &["-restart", "1"],
        &["-restart", "3B"],
        &["-progressive"],
        &["-progressive", "-restart", "2B"],
        &["-scans", &separate],
        &["-scans", &separate, "-restart", "3B"],
        &["-scans", &separate, "-restart", "1"],
        &["-scans", &luma_first],
        &["-scans", &chroma_last, "-restart", "5B"],
        &["-scans", &progressive],
        &["-scans", &refined],
        &["-arithmetic"],
        &["-arithmetic", "-progressive"],
    ];
    let mut kinds: Vec<Vec<&str>> = SAMPLINGS.iter().map(|sampling| vec!["-sample", sampling]).collect();
    kinds.push(vec!["-rgb"]);
    kinds.push(vec!["-rgb", "-sample", "2x2"]);
    kinds.extend(["1x1", "2x2", "3x1", "4x4"].map(|sampling| vec!["-grayscale", "-sample", sampling]));
    // Of less than five columns, libjpeg does not interpolate the colour.
    let sources = [(131, 67), (34, 70), (5, 41), (8, 8), (1, 1)].map(|size| source(&dir, size));
    let (mut right, mut refused, mut wrong) = (0, 0, String::new());
    for kind in &kinds {
        for mode in modes {
            for source in &sources {
                let arguments = [kind, mode].concat();
                let Some(jpeg) = run(Command::new("cjpeg").args(&arguments).arg(source)) else { continue };
                let file = dir.join("it.jpg");
                std::fs::write(&file, &jpeg).unwrap();
                let Some(expected) = run(Command::new("djpeg").arg(&file)) else { continue };
                let mut fault = |what: &str| {
                    writeln!(wrong, "{}, {}: {what}", arguments.join(" "), source.display()).unwrap();
                };
                match Picture::decode(&jpeg) {
                    Ok(picture) => match difference(&picture, &pnm(&expected)) {
                        difference if difference < 1.0 => right += 1,
                        difference => fault(&format!("off by {difference:.1}")),
                    },
                    Err(e) => {
                        let message = e.to_string();
                        refused += 1;
                        let sampling =
                            kind.last().is_some_and(|list| list.contains('4') && list.contains('2'));
                        let why = if mode.contains(&"-arithmetic") {
                            "arithmetic coding"
                        } else if sampling {
                            "sampling factors"
                        } else {
                            "nothing"
                        };
                        if !message.contains(why) {
                            fault(&message);
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{right} right, {refused} refused, wrong:\n{wrong}");
    assert!(right > 1400 && refused < right / 4, "{right} right, {refused} refused");
    println!("{right} right, {refused} refused");
}

/// A picture with strong colours, waves and noise.
fn source(dir: &Path, (width, height): (usize, usize)) -> PathBuf {
    let mut noise = 1u32;
    let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x as f64, y as f64);
            for wave in [x / 7.0 + y / 31.0, y / 9.0, (x + y) / 13.0] {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ppm.push((128.0 + 100.0 * wave.sin() + f64::from(noise >> 28)) as u8);
            }
        }
    }
    let path = dir.join(format!("{width}x{height}.ppm"));
    std::fs::write(&path, ppm).unwrap();
    path
}
