//! The example `fastestdet` against onnxruntime and OpenCV, whose answers `fastestdet/record.py` recorded.
//!
//! What needs the published weights and photos runs where the environment variable `FASTESTDET_DIR` names the folder
//! with `fastestdet.pth`, `coco.names`, `1.jpg` and `3.jpg`.

#[path = "../examples/fastestdet/boxes.rs"]
mod boxes;
#[path = "../examples/fastestdet/network.rs"]
mod network;
#[path = "../examples/fastestdet/photo.rs"]
mod photo;
mod truth_formula;

use boxes::{Detection, decode};
use image::{Rgb, RgbImage};
use kernels::reference::Planar;
use kernels::{Isa, Serial, Shape};
use model::Images;
use model::graph::{Passes, Program, Random, twin, uniform};
use model::weights::Checkpoint;
use network::{CLASSES, FIELDS, FastestDet, GRID, SIDE};
use std::path::PathBuf;

/// The fields of the recorded lines of one kind.
fn recorded(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines =
        include_str!("fastestdet/recorded.txt").lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines.filter(move |fields| fields[0] == kind).map(|fields| fields[1..].to_vec())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number"))
}

/// The folder with the data, or a word that the test is skipped.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("FASTESTDET_DIR").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FASTESTDET_DIR is not set");
    }
    folder
}

fn load(folder: &std::path::Path, isa: Isa) -> FastestDet {
    let checkpoint = Checkpoint::open(&folder.join("fastestdet.pth")).expect("the checkpoint opens");
    FastestDet::new(&checkpoint, isa).expect("the checkpoint is FastestDet's")
}

#[test]
fn photos_shrink_as_in_opencv() {
    for case in recorded("resize") {
        let (width, height) = (number(case[0]), number(case[1]));
        let value = |x: u32, y: u32, c: u32| ((x * 7 + y * 13 + c * 29 + x * y % 31 * 5) % 256) as u8;
        let photo = RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| value(x, y, c))));
        let small = photo::area_resize(&photo, SIDE);
        let sample: Vec<u8> = small.pixels().step_by(2003).flat_map(|pixel| pixel.0).collect();
        let expected: Vec<u8> = case[2..].iter().map(|text| number(text)).collect();
        assert_eq!(sample.len(), expected.len());
        for (found, expected) in sample.iter().zip(&expected) {
            // OpenCV interpolates with weights of eleven bits where it does not average.
            assert!(found.abs_diff(*expected) <= 1, "{width}x{height}: {sample:?}, expected {expected:?}");
        }
    }
}

#[test]
fn the_image_is_planes_of_blue_green_red() {
    let photo = RgbImage::from_pixel(700, 400, Rgb([255, 102, 0]));
    let input = photo::network_input(&photo);
    let planes: Vec<&[f32]> = input.chunks(SIDE * SIDE).collect();
    for (plane, expected) in planes.iter().zip([0.0, 0.4, 1.0]) {
        assert!(plane.iter().all(|&x| x == expected));
    }
    assert_eq!(planes.len(), 3);
}

/// An output in which the cells of `certain` are sure of class 3 and of a box over a quarter of the photo.
fn output(certain: &[(usize, usize)]) -> Vec<f32> {
    let mut output = vec![0.0; GRID * GRID * FIELDS];
    for &(x, y) in certain {
        let cell = &mut output[(y * GRID + x) * FIELDS..][..FIELDS];
        cell[0] = 0.9;
        cell[5 + 3] = 1.0;
    }
    output
}

#[test]
fn boxes_are_decoded_and_overlapping_ones_suppressed() {
    assert_eq!(decode(&output(&[]), 640, 480), []);

    let mut sure = output(&[(11, 11), (12, 11), (0, 11)]);
    sure[(11 * GRID + 12) * FIELDS] = 0.99;
    let found = decode(&sure, 440, 220);
    // (11, 11) overlaps the better (12, 11); (0, 11) lies elsewhere and reaches beyond the photo.
    let bounds: Vec<_> = found.iter().map(|detection| detection.bounds).collect();
    assert_eq!(bounds, [[130.0, 55.0, 350.0, 165.0], [-110.0, 55.0, 110.0, 165.0]]);
    assert!(found.iter().all(|detection| detection.class == 3));
    assert!((found[0].score - 0.99f32.powf(0.6)).abs() < 1e-6);
    assert!((found[1].score - 0.9f32.powf(0.6)).abs() < 1e-6);
}

#[test]
fn an_output_of_nan_is_no_box() {
    assert_eq!(decode(&vec![f32::NAN; GRID * GRID * FIELDS], 640, 480), []);
}

#[test]
fn frames_and_names_stay_in_the_photo() {
    let names = vec!["cat".to_owned(); CLASSES];
    let detection = |bounds| Detection { class: 0, score: 0.9, bounds };
    let mut photo = RgbImage::new(200, 100);
    photo::draw(&mut photo, &[detection([20.0, 30.0, 180.0, 80.0])], &names);
    let black = Rgb([0, 0, 0]);
    let frame = *photo.get_pixel(20, 60);
    assert_ne!(frame, black);
    assert_eq!((photo.get_pixel(179, 60), photo.get_pixel(100, 79)), (&frame, &frame));
    assert_eq!((photo.get_pixel(100, 60), photo.get_pixel(10, 60)), (&black, &black));
    // The name's ground, with letters on it.
    let ground = (22..70).flat_map(|x| (31..39).map(move |y| (x, y)));
    let (mut letters, mut rest) = (0, 0);
    for (x, y) in ground {
        if *photo.get_pixel(x, y) == black { letters += 1 } else { rest += 1 }
    }
    assert!(letters > 50 && rest > 100, "{letters} pixels of letters, {rest} of ground");

    let mut photo = RgbImage::new(3, 2);
    photo::draw(&mut photo, &[detection([-1e9, -5.0, 1e9, 7.0])], &names);
}

/// With made-up weights, against the same graph by naive loops in `f64`.
#[test]
fn the_network_agrees_with_its_twin() {
    let (graph, tensors, shape) = (network::graph().unwrap(), Random::default(), Shape::new(3, 96, 64));
    let image = uniform(1, 3 * shape.pixels());
    let truth = twin::run(&graph, &tensors, &[Planar::new(shape, &image)]).unwrap().remove(0);
    assert_eq!(truth.shape, Shape::new(FIELDS, 6, 4));
    for isa in Isa::available() {
        let program = Program::build(&graph, &tensors, isa, Passes::All).unwrap();
        let mut found = vec![0.0; truth.data.len()];
        let images = Images::nchw(&image, 1, shape.h, shape.w);
        program.run(&Serial, &[images], &mut program.workspace(), &mut [&mut found]);
        let off = twin::deviation(&found, &truth.data);
        assert!(off < 2e-5, "{isa}: {off:e}");
    }
}

#[test]
fn the_raw_output_is_onnxruntimes() {
    let Some(folder) = data() else { return };
    for isa in Isa::available() {
        let network = load(&folder, isa);
        let mut activations = network.activations();
        for case in recorded("raw") {
            let image = truth_formula::fill("input", 3 * SIDE * SIDE, number(case[0]), number(case[1]));
            let cells = network.run(&image, &mut activations);
            let output: Vec<f32> =
                (0..FIELDS).flat_map(|field| cells[field..].iter().step_by(FIELDS)).copied().collect();
            let sample: Vec<f32> = output.iter().copied().step_by(101).collect();
            let expected: Vec<f32> = case[2..].iter().map(|text| number(text)).collect();
            assert_eq!(sample.len(), expected.len());
            for (i, (found, expected)) in sample.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < 1e-4, "{isa}, number {i}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn the_boxes_are_onnxruntimes() {
    let Some(folder) = data() else { return };
    let names = std::fs::read_to_string(folder.join("coco.names")).expect("coco.names can be read");
    let names: Vec<&str> = names.lines().map(str::trim).collect();
    let network = load(&folder, Isa::best());
    let mut activations = network.activations();
    for name in ["1.jpg", "3.jpg"] {
        let photo = image::open(folder.join(name)).expect("the photo can be read").into_rgb8();
        let output = network.run(&photo::network_input(&photo), &mut activations);
        let found = decode(output, photo.width(), photo.height());
        let expected: Vec<_> = recorded("box").filter(|fields| fields[0] == name).collect();
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(names[found.class], expected[1]);
            assert!(
                (found.score - number::<f32>(expected[2])).abs() < 0.01,
                "{found:?}, expected {expected:?}"
            );
            for (found_side, expected_side) in found.bounds.iter().zip(&expected[3..]) {
                let difference = (found_side - number::<f32>(expected_side)).abs();
                assert!(difference < 2.0, "{found:?}, expected {expected:?}");
            }
        }
    }
}

#[test]
fn another_checkpoint_is_refused_in_one_line() {
    let header =
        r#"{"backbone.first_conv.0.weight":{"dtype":"F32","shape":[24,3,5,5],"data_offsets":[0,7200]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 7200]);
    let checkpoint = Checkpoint::from_bytes(bytes).expect("it is well-formed");
    let error = FastestDet::new(&checkpoint, Isa::best()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor \"backbone.first_conv.0.weight\": expected shape [24, 3, 3, 3], found [24, 3, 5, 5]"
    );
}
