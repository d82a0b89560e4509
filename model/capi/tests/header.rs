//! `include/kernels.h` is what cbindgen makes of the sources.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = cbindgen::generate(folder).expect("the sources can be parsed");
    let mut generated = Vec::new();
    header.write(&mut generated);
    let generated = String::from_utf8(generated).expect("UTF-8");
    let path = folder.join("include/kernels.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&path, &generated).expect("the header can be written");
    }
    let found = std::fs::read_to_string(&path).expect("the header can be read");
    assert!(found == generated, "run UPDATE_HEADER=1 cargo test -p shufflenet-capi --test header");
}
