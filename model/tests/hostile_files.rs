//! Files that are damaged or made to do harm: an error or a right answer, within bounds of memory and time.
//!
//! Never a panic, an abort, or memory out of proportion to the file. The seeds are fixed, so that a failure
//! stays one; the variables HOSTILE_SEED and HOSTILE_ROUNDS make a longer run.

use model::weights::Checkpoint;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

/// Counts what a thread has allocated, and the most it ever had.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    if change > 1 << 28 {
        eprintln!("BIG {change} {}", std::backtrace::Backtrace::force_capture());
    }
    // A thread that is being torn down counts no more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        PEAK.with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `f` and fails if it held more than `limit` bytes at a time.
fn within<T>(limit: usize, what: &str, f: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    PEAK.set(before);
    let result = f();
    let peak = (PEAK.get() - before) as usize;
    assert!(peak <= limit, "{what}: held {peak} bytes, {limit} allowed");
    result
}

/// Opens a file and reads all that can be read; the error if it does not open.
fn exercise(bytes: &[u8], what: &str) -> Result<(), String> {
    // The file itself, a decoded tensor and its working copy, and half a megabyte of tables.
    let limit = 64 * bytes.len() + (32 << 20);
    within(limit, what, || {
        let checkpoint = Checkpoint::from_bytes(bytes.to_vec()).map_err(|e| one_line(&e))?;
        for name in checkpoint.names() {
            if let Err(e) = checkpoint.read(name) {
                one_line(&e);
            }
        }
        Ok(())
    })
}

fn one_line(error: &model::weights::WeightsError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 1000, "{text}");
    text
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/weights");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() > 15);
    files
}

/// A small generator of reproducible noise (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn truncated_at_any_length() {
    for (name, bytes) in fixtures() {
        // All lengths of small files, and of large ones those near the ends and a sample.
        let step = 1 + bytes.len() / 4096;
        for len in (0..bytes.len()).filter(|&len| len % step == 0 || len < 256 || bytes.len() - len < 256) {
            let _ = exercise(&bytes[..len], &format!("{name} cut to {len}"));
        }
    }
}

#[test]
fn random_changes() {
    let number = |name, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let rounds = number("HOSTILE_ROUNDS", 1000);
    let mut noise = Noise(number("HOSTILE_SEED", 1));
    for (name, bytes) in fixtures() {
        for round in 0..rounds {
            let mut bytes = bytes.clone();
            for _ in 0..1 + noise.below(6) {
                let at = noise.below(bytes.len());
                let extremes = [0, 1, 0x7f, 0x80, 0xff, b'R', b'.', b'('];
                match noise.below(4) {
                    0 => bytes[at] = noise.next() as u8,
                    1 => bytes[at] = extremes[noise.below(extremes.len())],
                    // A length or an offset, of the sizes that formats use, to an extreme value.
                    2 => {
                        let value = [u64::MAX, 1 << 63, 1 << 40, 1 << 31, 0][noise.below(5)].to_le_bytes();
                        let len = [2, 4, 8][noise.below(3)].min(bytes.len() - at);
                        bytes[at..at + len].copy_from_slice(&value[8 - len..]);
                    }
                    // Bytes from elsewhere in the file.
                    _ => {
                        let from = noise.below(bytes.len());
                        let len = noise.below(32).min(bytes.len() - at.max(from));
                        bytes.copy_within(from..from + len, at);
                    }
                }
            }
            let start = std::time::Instant::now();
            let _ = exercise(&bytes, &format!("{name}, change {round}"));
            assert!(start.elapsed().as_secs() < 10, "{name}, change {round} took {:?}", start.elapsed());
        }
    }
}

#[test]
fn random_bytes() {
    let heads: [&[u8]; 6] = [
        b"",
        b"PK\x03\x04",
        b"\x89HDF\r\n\x1a\n",
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
        b"\x40\0\0\0\0\0\0\0{\"a\":",
        b"\x80\x02}",
    ];
    let mut noise = Noise(2);
    for head in heads {
        for len in (0..600).chain([4096, 70_000]) {
            let mut bytes = head.to_vec();
            bytes.extend((0..len).map(|_| noise.next() as u8));
            let result = exercise(&bytes, &format!("{head:?} and {len} bytes"));
            assert!(result.is_err(), "{head:?} and {len} bytes");
        }
    }
}

/// The error that a file is refused with.
fn refused(bytes: &[u8]) -> String {
    exercise(bytes, "file").expect_err("the file must be refused")
}

#[test]
fn safetensors_headers() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let one = |info: &str, data| refused(&file(&format!("{{\"a\":{info}}}"), data));
    let good = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    assert_eq!(exercise(&file(&format!("{{\"a\":{good}}}"), 8), "good"), Ok(()));

    let mut long = file("{", 0);
    long[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let message = refused(&long);
    assert!(message.contains("claims to have 1152921504606846976 bytes"), "{message}");
    long[..8].copy_from_slice(&(1u64 << 20).to_le_bytes());
    let message = refused(&long);
    assert!(message.contains("the file ends early"), "{message}");

    let message = one(good, 9);
    assert!(message.contains("describes 8 bytes of tensors, the file has 9"), "{message}");
    let message = one(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#, 12);
    assert!(message.contains("invalid offset for tensor `a`"), "{message}");
    let message = one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#, 8);
    assert!(message.contains("invalid shape, data type, or offset"), "{message}");
    // Sizes of 32 bits cannot be that large in the first place.
    let message = one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}"#, 8);
    assert!(message.contains(if usize::BITS < 64 { "expected usize" } else { "overflow" }), "{message}");
    let message = one(r#"{"dtype":"F32","shape":[65536,65536,65536,65536],"data_offsets":[0,8]}"#, 8);
    assert!(message.contains("overflow"), "{message}");
    let message = one(r#"{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}"#, 8);
    assert!(message.contains("tensor \"a\" holds F8_E4M3 values"), "{message}");
    let message = one("[", 8);
    assert!(message.contains("header: "), "{message}");

    let overlapping = format!(r#"{{"a":{good},"b":{{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}}}"#);
    let message = refused(&file(&overlapping, 12));
    assert!(message.contains("invalid offset for tensor `b`"), "{message}");
    let nested = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(refused(&file(&nested, 0)).contains("recursion limit"));
}

/// A zip archive of uncompressed entries, good apart from missing checksums, which nobody asks for.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let offset = (file.len() as u32).to_le_bytes();
        let size = (data.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time, date, checksum; sizes; lengths of the name and of the extra field.
        let common = [&[20, 0][..], &[0; 12], &size, &size, &name_len, &[0; 2]].concat();
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (offset, size) = ((file.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &offset, &[0; 2]].concat()
}

fn pth(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", &[b"\x80\x02", pickle, b"."].concat()), ("a/data/0", storage)])
}

fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

fn string(value: &str) -> Vec<u8> {
    [&b"X"[..], &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

fn call(module: &str, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
    [&global(module, name)[..], &tuple(args), b"R"].concat()
}

fn storage(elements: i64) -> Vec<u8> {
    let fields =
        [string("storage"), global("torch", "FloatStorage"), string("0"), string("cpu"), int(elements)];
    [&tuple(&fields)[..], b"Q"].concat()
}

fn tensor(offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let ints = |values: &[i64]| tuple(&values.iter().map(|&v| int(v)).collect::<Vec<_>>());
    let args = [storage(6), int(offset), ints(shape), ints(strides), b"\x89".to_vec(), b"}".to_vec()];
    call("torch._utils", "_rebuild_tensor_v2", &args)
}

/// `{name: value}`
fn dict(name: &str, value: &[u8]) -> Vec<u8> {
    [b"}", &string(name)[..], value, b"s"].concat()
}

#[test]
fn pickles_that_ask_for_code() {
    let evil = |pickle: &[u8], name: &str| {
        let message = refused(&pth(pickle, &[0; 24]));
        assert!(message.contains(&format!("asks to run \"{name}\", which is refused")), "{message}");
    };
    let good = tensor(0, &[2, 3], &[3, 1]);
    assert_eq!(exercise(&pth(&dict("a", &good), &[0; 24]), "good"), Ok(()));

    let system = call("os", "system", &[string("touch /tmp/x")]);
    evil(&system, "os.system");
    evil(&dict("a", &system), "os.system");
    evil(&[&dict("a", &good)[..], &system, b"0"].concat(), "os.system");
    evil(&dict("a", &call("builtins", "getattr", &[string("a"), string("b")])), "builtins.getattr");
    // STACK_GLOBAL and NEWOBJ, the newer spellings; and a name that only looks like a known one.
    let newer = [&string("builtins")[..], &string("eval"), b"\x93", &tuple(&[string("1")]), b"\x81"].concat();
    evil(&newer, "builtins.eval");
    let torch = call("torch._utils\u{a0}", "_rebuild_tensor_v2", &[]);
    evil(&torch, "torch._utils\\u{a0}._rebuild_tensor_v2");
    evil(&call("torch", "load", &[string("x")]), "torch.load");
    // INST and OBJ call too, in a way that no torch.save writes.
    for opcode in [b'i', b'o'] {
        let message = refused(&pth(&[b"(", &[opcode][..], b"os\nsystem\n"].concat(), &[]));
        assert!(message.contains(&format!("opcode {opcode:#04x} is not understood")), "{message}");
    }
    let indirect = refused(&pth(&[&string("os.system")[..], b")R"].concat(), &[]));
    assert!(indirect.contains("calls something other than a named function"), "{indirect}");
}

#[test]
fn pickles_that_take_room() {
    let mib = 1 << 20;
    // Lists in lists, a million deep: nothing recurses.
    let deep = [vec![b']'; 400_000], vec![b'a'; 399_999]].concat();
    assert!(refused(&pth(&deep, &[])).contains("no tensors by name"));
    // A list that is doubled over and over by reference; 2^10000 items if anybody copied.
    let doubling = [&b"]"[..], &b"q\0]h\0ah\0a0]q\0h\0ah\0a".repeat(10_000)].concat();
    let _ = exercise(&pth(&doubling, &[]), "doubling");
    // A dictionary of a hundred thousand pairs, remembered and copied as often.
    let pairs =
        [&b"]("[..], &b"NN\x86".repeat(100_000), b"eq\x01", &global("collections", "OrderedDict"), b"q\x020"]
            .concat();
    let copies = [&pairs[..], &b"h\x02h\x01\x85R0".repeat(100_000)].concat();
    assert!(refused(&pth(&copies, &[])).contains("more than 524288 objects"));
    // A long name, remembered and used as a class over and over.
    let name = [&string(&"n".repeat(mib))[..], b"q\x01", &b"h\x01\x93h\x01".repeat(100_000)].concat();
    assert!(refused(&pth(&[&string("m")[..], &name].concat(), &[])).contains("too long"));
    // More objects than allowed, and stacks without end.
    assert!(refused(&pth(&vec![b'N'; mib], &[])).contains("more than 524288 objects"));
    let _ = exercise(&pth(&[&b"N"[..], &vec![b'2'; mib]].concat(), &[]), "copies of the top");
    let _ = exercise(&pth(&vec![b'('; mib], &[]), "marks");
    // A pickle of the largest size and more.
    assert!(refused(&pth(&vec![b')'; 17 * mib], &[])).contains("more than 16777216 bytes"));
    // A dictionary that wraps itself.
    let cycle = [&b"}q\x01"[..], &string("state_dict"), b"h\x01s"].concat();
    assert!(refused(&pth(&cycle, &[])).contains("no tensors by name"));
    // Stacks that run empty.
    for short in [&b"0"[..], b"R", b"a", b"s", b"t", b"u", b"(0", b"\x87", b"Q", b"b", b"h\x07", b""] {
        assert!(refused(&pth(short, &[])).contains("the pickle"), "{short:?}");
    }
}

#[test]
fn tensors_outside_of_their_storage() {
    let bad = |tensor: Vec<u8>| refused(&pth(&dict("w", &tensor), &[0; 24]));
    let not_a_size = "not a non-negative integer";
    // What no size of 32 bits can be is refused there before it is understood.
    let large = |tensor, reason| {
        let message = bad(tensor);
        assert!(message.contains(if usize::BITS < 64 { not_a_size } else { reason }), "{message}");
    };
    let outside = "tensor \"w\" of shape";
    for (offset, shape, strides) in [
        (1, &[2, 3][..], &[3, 1][..]),
        (0, &[2, 3], &[u32::MAX.into(), 1]),
        (0, &[2, u32::MAX.into()], &[1, u32::MAX.into()]),
        (7, &[0], &[1]),
    ] {
        let message = bad(tensor(offset, shape, strides));
        assert!(message.contains(outside) && message.contains("24 bytes"), "{message}");
    }
    large(tensor(i64::MAX, &[2, 3], &[3, 1]), outside);
    large(tensor(0, &[2, 3], &[i64::MAX, 1]), outside);
    large(tensor(0, &[2, i64::MAX], &[1, i64::MAX]), outside);
    large(tensor(0, &[i64::MAX, i64::MAX], &[1, 1]), outside);
    // Inside, because it repeats one element; but far more than such a file can mean.
    let message = bad(tensor(0, &[1 << 31], &[0]));
    assert!(message.contains("declared to hold more than"), "{message}");
    large(tensor(0, &[1 << 40], &[0]), "declared to hold more than");
    large(tensor(0, &[1 << 32, 1 << 32], &[0, 0]), "declared to hold more than");
    let message = bad(tensor(-1, &[2], &[1]));
    assert!(message.contains(not_a_size), "{message}");
    let message = bad(tensor(0, &[2], &[1, 1]));
    assert!(message.contains("1 dimensions and 2 strides"), "{message}");
    let message = bad(tensor(0, &[1; 17], &[1; 17]));
    assert!(message.contains("not a short tuple"), "{message}");
    let message = refused(&zip(&[("a/data.pkl", &[&dict("w", &tensor(0, &[1], &[1]))[..], b"."].concat())]));
    assert!(message.contains("tensor \"w\": its storage \"0\" is not in the file"), "{message}");
}

#[test]
fn zip_archives() {
    let pickle = [&dict("w", &tensor(0, &[6], &[1]))[..], b"."].concat();
    let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", &[0; 24])];
    let good = zip(&entries);
    assert_eq!(exercise(&good, "good"), Ok(()));
    assert!(refused(&zip(&[("a/x", b"")])).contains("no data.pkl"));
    assert!(refused(&zip(&[entries[0], entries[1], entries[1]])).contains("two entries"));

    // The directory's record of the storage, found from the end: sizes at 20 and 24, offset at 42.
    let record = good.len() - 22 - 46 - "a/data/0".len();
    let with = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[record + at..record + at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let message = refused(&with(20, 1 << 30));
    assert!(message.contains("\"a/data/0\" lies outside of the file"), "{message}");
    let message = refused(&with(42, 1 << 30));
    assert!(message.contains("damaged zip archive"), "{message}");
    // A bomb: an entry that says it is deflated.
    let message = refused(&with(8, 8 << 16));
    assert!(message.contains("\"a/data/0\" of the zip archive is compressed"), "{message}");
    // One tensor under a hundred thousand names: fine if it is small, a bomb if it repeats itself.
    let shared = |tensor: Vec<u8>| {
        let names = (0..100_000).flat_map(|i| [&string(&i.to_string())[..], b"h\x01"].concat());
        pth(&[&tensor[..], b"q\x010}(", &names.collect::<Vec<_>>(), b"u"].concat(), &[0; 24])
    };
    assert_eq!(exercise(&shared(tensor(0, &[6], &[1])), "shared"), Ok(()));
    let message = refused(&shared(tensor(0, &[100, 6], &[0, 1])));
    assert!(message.contains("declared to hold more than"), "{message}");
}

#[test]
fn legacy_files() {
    let file = |little_endian: bool, keys: &[&str], elements: u64| {
        let flag: &[u8] = if little_endian { b"\x88" } else { b"\x89" };
        let keys: Vec<u8> = keys.iter().flat_map(|key| string(key)).collect();
        let pickles = [
            b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19".to_vec(),
            int(1001),
            dict("little_endian", flag),
            dict("w", &tensor(0, &[6], &[1])),
            [b"](", &keys[..], b"e"].concat(),
        ];
        let pickles: Vec<u8> = pickles.iter().flat_map(|p| [b"\x80\x02", &p[..], b"."].concat()).collect();
        [&pickles[..], &elements.to_le_bytes(), &[0; 24]].concat()
    };
    let good = file(true, &["0"], 6);
    assert_eq!(exercise(&good, "good"), Ok(()));
    assert!(refused(&good[..good.len() - 1]).contains("the file ends early"));
    for elements in [5, 7, u64::MAX / 2, u64::MAX] {
        let message = refused(&file(true, &["0"], elements));
        assert!(message.contains(&format!("\"0\": expected 6 elements, found {elements}")), "{message}");
    }
    assert!(refused(&file(true, &["1"], 6)).contains("nothing uses storage \"1\""));
    assert!(refused(&file(true, &["0", "0"], 6)).contains("the file ends early"));
    assert!(refused(&file(true, &[], 6)).contains("storage \"0\" is not in the file"));
    assert!(refused(&file(false, &["0"], 6)).contains("little-endian"));
}

/// Arrays and lists of names take memory for what is there, not for what is announced.
#[test]
fn arrays_and_names() {
    use model::{labels, npy};
    let mut file = Vec::new();
    npy::write_to(&mut file, &[1000], &[1.0; 1000]).unwrap();
    for (announced, fortran) in [("(1000000000,)", "False"), ("(30000, 30000)", "True"), ("(1000,)", "False")]
    {
        let header = format!("{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': {announced}, }}");
        file[10..127].fill(b' ');
        file[10..10 + header.len()].copy_from_slice(header.as_bytes());
        within(1 << 18, announced, || {
            for array in [npy::from_bytes(&file), npy::read_from(&file[..])] {
                assert_eq!(array.is_ok(), announced == "(1000,)");
            }
        });
    }
    // As many opening brackets and empty names as a file can hold.
    for list in
        [vec![b'['; 1 << 20], vec![b'\n'; 1 << 20], [&b"[\"\""[..], &b",\"\"".repeat(1 << 18), b"]"].concat()]
    {
        within(64 << 20, "names", || labels::from_bytes(&list, 1000).unwrap_err());
    }
}
