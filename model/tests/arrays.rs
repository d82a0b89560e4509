//! `.npy` files as NumPy writes them (recorded/make_fixtures.py), and files that harm.

use model::npy::{self, Array};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/arrays").join(name)
}

fn ramp(shape: &[usize]) -> Array {
    let elements = shape.iter().product();
    Array { shape: shape.to_vec(), values: (0..elements).map(|i| 1.0 + i as f32 / 4.0).collect() }
}

#[test]
fn arrays_by_numpy() {
    for (name, shape) in [
        ("ramp.npy", &[2, 3][..]),
        ("version2.npy", &[2, 3]),
        ("version3.npy", &[2, 3]),
        ("vector.npy", &[5]),
        ("scalar.npy", &[]),
        ("empty.npy", &[0, 3]),
    ] {
        assert_eq!(npy::read(&fixture(name)).unwrap(), ramp(shape), "{name}");
        assert_eq!(npy::from_bytes(&std::fs::read(fixture(name)).unwrap()).unwrap(), ramp(shape), "{name}");
    }
    for name in ["fortran.npy", "double.npy", "big_endian.npy", "half.npy"] {
        assert_eq!(npy::read(&fixture(name)).unwrap(), ramp(&[2, 3]), "{name}");
    }
    let cube = Array { shape: vec![2, 3, 4], values: (-3i8..21).map(f32::from).collect() };
    assert_eq!(npy::read(&fixture("big_endian_fortran.npy")).unwrap(), cube);
    let bytes = Array { shape: vec![2, 3], values: vec![0.0, 1.0, 127.0, 128.0, 200.0, 255.0] };
    assert_eq!(npy::read(&fixture("bytes.npy")).unwrap(), bytes);
    let truth = Array { shape: vec![1, 3], values: vec![1.0, 0.0, 1.0] };
    assert_eq!(npy::read(&fixture("truth.npy")).unwrap(), truth);
    for (name, reason) in [
        ("structured.npy", "a structured array, expected one of numbers"),
        ("complex.npy", "element type \"<c8\" (complex numbers), expected numbers of up to 64 bits"),
        ("objects.npy", "element type \"|O\" (Python objects)"),
        ("text.npy", "element type \"<U2\" (text)"),
        ("dates.npy", "element type \"<M8[D]\" (dates or times)"),
        ("archive.npz", "not a .npy file, but a zip archive (as .npz"),
    ] {
        let message = npy::read(&fixture(name)).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(reason), "{message}");
    }
}

/// A file of version 1 with these elements.
fn file_of(descr: &str, fortran: &str, shape: &str, elements: &[Vec<u8>]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}}}");
    [file(&header, 0), elements.concat()].concat()
}

#[test]
fn numbers_of_every_type_in_either_byte_order_and_either_order_of_dimensions() {
    macro_rules! check {
        ($code:literal, $type:ty, $values:expr, $to_f32:expr) => {
            let values: [$type; 6] = $values;
            let wanted: Vec<f32> = values.iter().map($to_f32).collect();
            let little: Vec<Vec<u8>> = values.iter().map(|x| x.to_le_bytes().to_vec()).collect();
            let big: Vec<Vec<u8>> = values.iter().map(|x| x.to_be_bytes().to_vec()).collect();
            for (order, elements) in [('<', &little), ('>', &big)] {
                let descr = format!("{order}{}", $code);
                // Fortran order: the first index moves first.
                let columns: Vec<_> = [0, 3, 1, 4, 2, 5].iter().map(|&i| elements[i].clone()).collect();
                let in_c = file_of(&descr, "False", "(2, 3)", elements);
                let in_fortran = file_of(&descr, "True", "(2, 3)", &columns);
                for bytes in [in_c, in_fortran] {
                    for array in [npy::from_bytes(&bytes).unwrap(), npy::read_from(&bytes[..]).unwrap()] {
                        assert_eq!(array.shape, [2, 3]);
                        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&array.values), bits(&wanted), "{descr}");
                    }
                }
            }
        };
    }
    let half = half::f16::from_f64;
    check!("f2", half::f16, [half(0.1), half(-65504.0), half(6e-8), half(1e9), half(-0.0), half(1.0)], |x| x
        .to_f32());
    check!("f4", f32, [0.1, f32::MIN, 1e-45, f32::INFINITY, -0.0, f32::NAN], |x| *x);
    check!("f8", f64, [0.1, f64::MIN, 1e-300, 1e39, -0.0, 16_777_217.0], |x| *x as f32);
    check!("u1", u8, [0, 1, 127, 128, 200, u8::MAX], |x| f32::from(*x));
    check!("i1", i8, [0, 1, -1, 100, i8::MIN, i8::MAX], |x| f32::from(*x));
    check!("u2", u16, [0, 1, 255, 256, 40_000, u16::MAX], |x| f32::from(*x));
    check!("i2", i16, [0, 1, -1, 256, i16::MIN, i16::MAX], |x| f32::from(*x));
    check!("u4", u32, [0, 1, 255, 256, 16_777_217, u32::MAX], |x| *x as f32);
    check!("i4", i32, [0, 1, -1, 256, i32::MIN, i32::MAX], |x| *x as f32);
    check!("u8", u64, [0, 1, 255, 256, 16_777_217, u64::MAX], |x| *x as f32);
    check!("i8", i64, [0, 1, -1, 256, i64::MIN, i64::MAX], |x| *x as f32);
    for descr in ["|b1", "<b1", "b1"] {
        let elements = [0, 1, 2, 255, 0, 0].map(|byte| vec![byte]);
        let array = npy::from_bytes(&file_of(descr, "False", "(6,)", &elements)).unwrap();
        assert_eq!(array.values, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }
    // Four dimensions, larger than what is read at once.
    let shape = [3, 5, 70, 90];
    let step = [1, 3, 15, 1050];
    let mut wanted = vec![0.0; 3 * 5 * 70 * 90];
    let elements: Vec<_> = (0..wanted.len() as u32).map(|i| i.to_le_bytes().to_vec()).collect();
    for (place, value) in wanted.iter_mut().enumerate() {
        let (mut rest, mut at) = (place, 0);
        for axis in (0..4).rev() {
            at += rest % shape[axis] * step[axis];
            rest /= shape[axis];
        }
        *value = at as f32;
    }
    let array = npy::from_bytes(&file_of("<u4", "True", "(3, 5, 70, 90)", &elements)).unwrap();
    assert!(array.shape == shape && array.values == wanted);
    for shape in ["()", "(1,)", "(1, 1, 1)"] {
        assert_eq!(npy::from_bytes(&file_of("<u4", "True", shape, &elements[7..8])).unwrap().values, [7.0]);
    }
    assert_eq!(npy::from_bytes(&file_of("<u4", "True", "(0, 1000000, 0)", &[])).unwrap().values, [0.0; 0]);
}

/// Gives what it has a few bytes at a time, and tells what it was asked for.
struct Trickle<'a>(&'a [u8]);

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let len = to.len().min(self.0.len()).min(7);
        to[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

#[test]
fn streams_are_read_to_their_end() {
    let large = ramp(&[3, 7, 1000]);
    let mut bytes = Vec::new();
    npy::write_to(&mut bytes, &large.shape, &large.values).unwrap();
    assert_eq!(npy::read_from(Trickle(&bytes)).unwrap(), large);
    let refused = |bytes: &[u8]| npy::read_from(Trickle(bytes)).unwrap_err().to_string();
    assert_eq!(
        refused(&bytes[..bytes.len() - 1]),
        "shape [3, 7, 1000] of float32 takes 84000 bytes, found less"
    );
    assert_eq!(
        refused(&[&bytes[..], b"x"].concat()),
        "shape [3, 7, 1000] of float32 takes 84000 bytes, found more"
    );
    // No memory is taken for what is only announced.
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}";
    if usize::BITS == 64 {
        assert!(refused(&file(header, 100)).contains("takes 4000000000000 bytes, found less"));
    }
    assert_eq!(refused(b""), "not a .npy file, but an empty file: was the download cut off?");
    assert_eq!(refused(b"<!DOCTYPE html>"), "not a .npy file, but a web page (HTML)");
}

#[test]
fn files_of_other_kinds_are_named() {
    for (bytes, what) in [
        (&b""[..], "an empty file"),
        (b"PK\x03\x04\x14\0", "a zip archive (as .npz, .pth and .keras are): take one array out of it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"\n  <!doctype HTML>\n", "a web page (HTML)"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x80\x02}q\0", "a Python pickle"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture: `shufflenet classify` reads photos"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF picture"),
        (b"\x08\x01\0\0\0\0\0\0{\"a\":{}}", "a .safetensors file"),
        (b"\x1f\x8b\x08", "a gzip file"),
    ] {
        let message = npy::from_bytes(bytes).unwrap_err().to_string();
        assert!(message.starts_with(&format!("not a .npy file, but {what}")), "{message}");
    }
    for bytes in [&b"hello"[..], b"\x93NUMPX\x01\0", b"\0\0\0\0", &[0xff; 500]] {
        assert_eq!(npy::from_bytes(bytes).unwrap_err().to_string(), "not a .npy file");
    }
}

#[test]
fn written_as_numpy_does() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written_as_numpy_does");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    for name in ["ramp.npy", "scalar.npy", "vector.npy", "empty.npy"] {
        let path = dir.join(name);
        let array = npy::read(&fixture(name)).unwrap();
        npy::write(&path, &array.shape, &array.values).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(fixture(name)).unwrap(), "{name}");
    }
    let large = ramp(&[3, 100_000]);
    npy::write(&dir.join("ramp.npy"), &large.shape, &large.values).unwrap();
    assert_eq!(npy::read(&dir.join("ramp.npy")).unwrap(), large);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 4);

    let message = npy::write(&dir.join("no/folder.npy"), &[1], &[1.0]).unwrap_err().to_string();
    assert!(message.contains("no/folder.npy: "), "{message}");
    let message = npy::write(&dir, &[1], &[1.0]).unwrap_err().to_string();
    assert!(message.contains("Is a directory"), "{message}");
}

/// A file of version 1.
fn file(header: &str, data: usize) -> Vec<u8> {
    let len = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &len[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn hostile_headers() {
    let refused = |bytes: &[u8]| {
        let message = npy::from_bytes(bytes).unwrap_err().to_string();
        assert!(!message.contains('\n') && message.len() < 300, "{message}");
        message
    };
    let shaped = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
    assert_eq!(npy::from_bytes(&file(&shaped("(2L,)"), 8)).unwrap().values, [0.0; 2]);

    assert_eq!(refused(&file(&shaped("(2,)"), 4)), "shape [2] of float32 takes 8 bytes, found 4");
    assert_eq!(refused(&file(&shaped("(2,)"), 9)), "shape [2] of float32 takes 8 bytes, found 9");
    // No size of 32 bits is that large: there they are refused one step earlier.
    let large = |shape, reason| {
        let message = refused(&file(&shaped(shape), 8));
        assert!(
            message.contains(if usize::BITS < 64 { "not a tuple of sizes" } else { reason }),
            "{message}"
        );
    };
    large("(1099511627776,)", "takes 4398046511104 bytes");
    large("(4294967296, 4294967296)", "more values than memory can hold");
    let overflow = refused(&file(&shaped("(65536, 65536, 65536, 65536)"), 8));
    assert!(overflow.contains("more values than memory can hold"), "{overflow}");
    assert!(refused(&file(&shaped("(99999999999999999999999,)"), 8)).contains("not a tuple of sizes"));
    assert!(refused(&file(&shaped("(-1,)"), 8)).contains("not a tuple of sizes"));
    assert!(refused(&file(&shaped("(2"), 8)).contains("not understood"));
    assert!(
        refused(&file(&shaped(&format!("({})", "1, ".repeat(65))), 4)).contains("more than 64 dimensions")
    );
    assert!(refused(&file("{'descr': '<f4'}", 8)).contains("lacks a key"));
    assert!(refused(&file("{'x': 1}", 8)).contains("unknown key \"x\""));
    assert!(refused(&file(&format!("{} + 1", shaped("(2,)")), 8)).contains("goes on after its end"));
    assert!(refused(&file("{'descr", 8)).contains("does not end"));
    assert!(refused(b"\x93NUMPY").contains("truncated"));
    assert!(refused(b"\x93NUMPY\x09\0\0\0").contains("version 9 is not known"));
    assert!(refused(b"\x93NUMPY\x02\0\xff\xff\xff\xff").contains("claims to have 4294967295 bytes"));

    let good = std::fs::read(fixture("ramp.npy")).unwrap();
    for len in 0..good.len() {
        refused(&good[..len]);
    }
    let mut noise = 1u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (noise >> 33) as usize % bytes.len();
            bytes[at] = (noise >> 24) as u8;
        }
        let _ = npy::from_bytes(&bytes);
    }
}
