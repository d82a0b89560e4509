//! `.onnx` models, with weights inside: what would become of each node, and what runs, on a small image.
#![no_main]

use kernels::{Isa, Serial};
use libfuzzer_sys::fuzz_target;
use model::Layout;
use model::npy::Array;
use model::onnx::{Network, check_bytes};

/// Elements of an image: what is larger takes time and shows nothing new.
const MAX_IMAGE: usize = 1 << 14;

/// An error is one line of bounded length.
fn one_line(text: &str) {
    assert!(!text.contains('\n') && text.len() < 4000, "{text}");
}

/// An image as the file asks for, if it is small.
fn image(input: &model::onnx::Input) -> Option<Array> {
    let (h, w) = input.size.unwrap_or((9, 11));
    let len = h.checked_mul(w)?.checked_mul(input.channels).filter(|&len| len <= MAX_IMAGE)?;
    let shape = match input.layout {
        Layout::Nchw => vec![2, input.channels, h, w],
        Layout::Nhwc => vec![2, h, w, input.channels],
    };
    Some(Array { shape, values: (0..2 * len).map(|i| (i % 7) as f32 - 3.0).collect() })
}

fuzz_target!(|bytes: &[u8]| {
    let report = match check_bytes(bytes) {
        Ok(report) => report,
        Err(error) => return one_line(&error.to_string()),
    };
    report.refusals.iter().for_each(|refusal| one_line(&refusal.to_string()));
    match Network::from_bytes(bytes, Isa::best()) {
        // What is refused when it is opened has been told when it was checked.
        Err(error) => {
            assert!(!report.refusals.is_empty(), "{error}");
            one_line(&error.to_string());
        }
        Ok(network) => {
            assert!(report.refusals.is_empty(), "{:?}", report.refusals);
            let inputs: Option<Vec<Array>> = network.inputs().iter().map(image).collect();
            let Some(inputs) = inputs else { return };
            let inputs: Vec<&Array> = inputs.iter().collect();
            match network.run(&Serial, &inputs, &mut network.workspace()) {
                Ok(outputs) => outputs
                    .iter()
                    .for_each(|y| assert_eq!(y.values.len(), y.shape.iter().product::<usize>())),
                Err(error) => one_line(&error.to_string()),
            }
        }
    }
});
