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
    for (name, reason) in [
        ("fortran.npy", "Fortran order, expected C order"),
        ("double.npy", "element type \"<f8\", expected float32"),
        ("big_endian.npy", "big-endian float32, expected little-endian"),
        ("structured.npy", "a structured array, expected float32"),
    ] {
        let message = npy::read(&fixture(name)).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(reason), "{message}");
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
    assert!(message.contains("not a regular file"), "{message}");
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
    large("(4294967296, 4294967296)", "takes far more bytes, found 8");
    let overflow = refused(&file(&shaped("(65536, 65536, 65536, 65536)"), 8));
    assert!(overflow.contains("takes far more bytes, found 8"), "{overflow}");
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
    assert!(refused(b"").contains("truncated"));
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
