//! JPEG, PNG and WebP files, and what the three recipes make of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::photo::{Picture, Recipe};
use std::panic;

fuzz_target!(
    init: {
        // libFuzzer's hook ends the process at any panic. Those of a decoder are errors of that picture.
        let end = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().contains("/registry/")) {
                end(panic);
            }
        }));
    },
    |bytes: &[u8]| {
        let picture = match Picture::decode(bytes) {
            Ok(picture) => picture,
            Err(error) => return assert!(!error.to_string().contains('\n'), "{error}"),
        };
        assert_eq!(picture.pixels().len(), 3 * picture.width() * picture.height());
        // Large pictures would be all that there is time for.
        if picture.width() * picture.height() > 1 << 16 {
            return;
        }
        for recipe in [Recipe::torchvision(40), Recipe::megvii(), Recipe::keras()] {
            let recipe = Recipe { resize: 40, crop: 32, ..recipe };
            let input = recipe.apply(&picture);
            assert_eq!(input.len(), 3 * 32 * 32);
            assert!(input.iter().all(|x| x.is_finite()));
        }
    }
);
