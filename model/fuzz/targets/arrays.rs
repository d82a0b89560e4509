//! `.npy` arrays, and lists of names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{labels, npy};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(array) = npy::from_bytes(bytes) {
        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
        assert!(4 * array.values.len() <= bytes.len());
    }
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    for classes in [lines, lines + 1] {
        if let Ok(names) = labels::from_bytes(bytes, classes) {
            assert_eq!(names.len(), classes);
            assert!(names.iter().all(|name| !name.contains('\n')));
        }
    }
});
