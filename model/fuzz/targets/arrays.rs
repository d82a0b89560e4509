//! `.npy` arrays, and lists of names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{labels, npy};
use model_fuzz::one_line;

fuzz_target!(|bytes: &[u8]| {
    let (file, stream) = (npy::from_bytes(bytes), npy::read_from(bytes));
    match (&file, &stream) {
        (Ok(array), Ok(same)) => {
            assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
            // The smallest elements have one byte.
            assert!(array.values.len() <= bytes.len());
            assert!(array.shape == same.shape && bits(&array.values) == bits(&same.values));
            // What is written is what was read.
            let mut written = Vec::new();
            npy::write_to(&mut written, &array.shape, &array.values).expect("memory takes everything");
            let again = npy::from_bytes(&written).expect("a good file");
            assert!(again.shape == array.shape && bits(&again.values) == bits(&array.values));
        }
        (Err(error), Err(other)) => [error, other].into_iter().for_each(|error| one_line(error)),
        _ => panic!("a file is {file:?}, a stream {stream:?}"),
    }
    // The lines there can be, and what a list or dictionary of one or two entries has.
    let ends = bytes.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count();
    for classes in [0, 1, 2, ends, ends + 1] {
        match labels::from_bytes(bytes, classes) {
            Ok(names) => {
                assert_eq!(names.len(), classes);
                assert!(names.iter().map(String::len).sum::<usize>() <= 3 * bytes.len());
            }
            Err(error) => one_line(&error),
        }
    }
});

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
