//! Files that are damaged or made to do harm: an error or a right answer, within bounds of memory and time.
//!
//! Never a panic, an abort, or memory out of proportion to the file. The seeds are fixed, so that a failure
//! stays one; the variables HOSTILE_SEED and HOSTILE_ROUNDS make a longer run.

mod torch_files;

use model::weights::Checkpoint;
use model::{Choice, Weights, find};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use torch_files::{call, global, int, legacy, string, tuple, zip};

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

/// Opens a file, reads all that can be read, and looks for a network; the first error.
fn exercise(bytes: &[u8], what: &str) -> Result<(), String> {
    // The file itself, what compressed entries became, a decoded tensor and its working copy, and tables.
    let limit = 64 * bytes.len() + (32 << 20);
    within(limit, what, || {
        let checkpoint = Checkpoint::from_bytes(bytes.to_vec()).map_err(|e| one_line(&e))?;
        let mut first = Ok(());
        for name in checkpoint.names() {
            // Integers are listed, but not read.
            if checkpoint.shape(name).is_none() || checkpoint.is_float(name) {
                first = first.and(checkpoint.read(name).map(drop).map_err(|e| one_line(&e)));
            }
        }
        for choice in [Choice::default(), Choice { key: Some("model".into()), ema: true }] {
            match find(&checkpoint, &choice) {
                Ok(found) => found.weights.names().iter().for_each(|name| drop(found.weights.read(name))),
                Err(e) => drop(one_line(&e)),
            }
        }
        first
    })
}

fn one_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 2000, "{text}");
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
    assert!(message.contains("tensor \"a\": it holds F8_E4M3 values"), "{message}");
    let message = one("[", 8);
    assert!(message.contains("header: "), "{message}");

    let overlapping = format!(r#"{{"a":{good},"b":{{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}}}"#);
    let message = refused(&file(&overlapping, 12));
    assert!(message.contains("invalid offset for tensor `b`"), "{message}");
    let nested = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(refused(&file(&nested, 0)).contains("recursion limit"));
}

fn pth(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", &[b"\x80\x02", pickle, b"."].concat()), ("a/data/0", storage)])
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
    torch_files::dict(&[(name, value.to_vec())])
}

#[test]
fn pickles_that_ask_for_code() {
    let trap = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pickles_that_ask_for_code");
    let _ = std::fs::remove_file(&trap);
    let good = tensor(0, &[2, 3], &[3, 1]);
    assert_eq!(exercise(&pth(&dict("a", &good), &[0; 24]), "good"), Ok(()));

    // Whatever the pickle asks to run, nothing runs, and the tensor beside it is read. Where nothing but harm can have
    // been meant, that is said.
    let evil = |pickle: &[u8], names: &[&str]| {
        let file = pth(&torch_files::dict(&[("a", good.clone()), ("b", pickle.to_vec())]), &[0; 24]);
        assert_eq!(exercise(&file, "evil"), Ok(()));
        let checkpoint = Checkpoint::from_bytes(file).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(checkpoint.warnings().len(), names.len(), "{:?}", checkpoint.warnings());
        for (warning, name) in checkpoint.warnings().iter().zip(names) {
            assert!(warning.contains(&format!("names \"{name}\"")), "{warning}");
        }
        assert!(!trap.exists());
    };
    let touch = format!("touch '{}'", trap.display());
    let system = call("os", "system", &[string(&touch)]);
    evil(&system, &["os.system"]);
    evil(&dict("x", &system), &["os.system"]);
    evil(&[&system[..], b"0N"].concat(), &["os.system"]);
    evil(&call("builtins", "getattr", &[string("a"), string("b")]), &[]);
    let open = call("builtins", "open", &[string(&trap.display().to_string()), string("w")]);
    evil(&open, &["builtins.open"]);
    // STACK_GLOBAL and NEWOBJ, the newer spellings; a name that only looks like a known one; what was not named.
    let newer = [&string("builtins")[..], &string("eval"), b"\x93", &tuple(&[string("1")]), b"\x81"].concat();
    evil(&newer, &["builtins.eval"]);
    evil(&call("torch._utils\u{a0}", "_rebuild_tensor_v2", &[]), &[]);
    evil(&[&string("os.system")[..], b")R"].concat(), &[]);
    // INST and OBJ call too, in Python 2's way.
    evil(&[b"(", &string(&touch)[..], b"ios\nsystem\n"].concat(), &["os.system"]);
    evil(&[b"(", &global("os", "system")[..], &string(&touch), b"o"].concat(), &["os.system"]);
    // A tensor that a function would have made is none.
    let made = call("torch._utils", "_rebuild_parameter", std::slice::from_ref(&system));
    evil(&made, &["os.system"]);
    // At the top there is nothing else.
    assert!(refused(&pth(&system, &[])).contains("there is no tensor"));
}

#[test]
fn pickles_that_take_room() {
    let mib = 1 << 20;
    // Lists in lists, a million deep: nothing recurses.
    let deep = [vec![b']'; 400_000], vec![b'a'; 399_999]].concat();
    assert!(refused(&pth(&deep, &[])).contains("there is no tensor"));
    // A list that is doubled over and over by reference; 2^10000 items if anybody copied.
    let doubling = [&b"]"[..], &b"q\0]h\0ah\0a0]q\0h\0ah\0a".repeat(10_000)].concat();
    let _ = exercise(&pth(&doubling, &[]), "doubling");
    // The same with a tensor at the bottom: 2^29 names of it, and 2^29 ways that end in nothing.
    for first in [tensor(0, &[6], &[1]), b"]".to_vec()] {
        let double = [&b"q\x01}("[..], &string("a"), b"h\x01", &string("b"), b"h\x01u"].concat();
        let _ = exercise(&pth(&[&first[..], &double.repeat(29)].concat(), &[0; 24]), "doubling names");
    }
    // Long keys, one in the other.
    let nested = [
        &tensor(0, &[6], &[1])[..],
        &[&b"q\x01}("[..], &string(&"k".repeat(250)), b"h\x01u"].concat().repeat(40),
    ];
    let _ = exercise(&pth(&nested.concat(), &[0; 24]), "long keys");
    // One dictionary of a thousand tensors under a thousand long names.
    let inner: Vec<u8> = (0..1000).flat_map(|i| [&string(&i.to_string())[..], b"h\x01"].concat()).collect();
    let outer: Vec<u8> =
        (0..1000).flat_map(|i| [&string(&format!("{i:0250}"))[..], b"h\x02"].concat()).collect();
    let shared = [&tensor(0, &[6], &[1])[..], b"q\x010}(", &inner, b"uq\x020}(", &outer, b"u"].concat();
    assert_eq!(exercise(&pth(&shared, &[0; 24]), "shared names"), Ok(()));
    // A dictionary of a hundred thousand pairs, remembered and copied as often.
    let pairs =
        [&b"]("[..], &b"NN\x86".repeat(100_000), b"eq\x01", &global("collections", "OrderedDict"), b"q\x020"]
            .concat();
    let copies = [&pairs[..], &b"h\x02h\x01\x85R0".repeat(100_000)].concat();
    assert!(refused(&pth(&copies, &[])).contains("more than 524288 objects"));
    // A long name, remembered and used as a class over and over.
    let name = [&string(&"n".repeat(mib))[..], b"q\x01", &b"h\x01\x93h\x01".repeat(100_000)].concat();
    let _ = refused(&pth(&[&string("m")[..], &name].concat(), &[]));
    // A call that stands for a call that stands for a call.
    let rebuild = global("torch._tensor", "_rebuild_from_type_v2");
    let inner = [&rebuild[..], b"q\x01NN\x87q\x02", &b"0h\x01Nh\x02\x87q\x02".repeat(50_000), b"h\x01h\x02R"]
        .concat();
    let _ = exercise(&pth(&inner, &[]), "calls in calls");
    // More objects than allowed, and stacks without end.
    assert!(refused(&pth(&vec![b'N'; mib], &[])).contains("more than 524288 objects"));
    let _ = exercise(&pth(&[&b"N"[..], &vec![b'2'; mib]].concat(), &[]), "copies of the top");
    let _ = exercise(&pth(&vec![b'('; mib], &[]), "marks");
    let _ =
        exercise(&pth(&[&global("a", "b")[..], b")\x81", &b"Nb".repeat(mib)].concat(), &[]), "attributes");
    // A pickle of the largest size and more.
    assert!(refused(&pth(&vec![b')'; 17 * mib], &[])).contains("more than 16777216 bytes"));
    // A dictionary that wraps itself.
    let cycle = [&b"}q\x01"[..], &string("state_dict"), b"h\x01s"].concat();
    assert!(refused(&pth(&cycle, &[])).contains("there is no tensor"));
    // Stacks that run empty.
    for short in
        [&b"0"[..], b"R", b"a", b"s", b"t", b"u", b"(0", b"\x87", b"Q", b"b", b"h\x07", b"o", b"i", b""]
    {
        assert!(exercise(&pth(short, &[]), "short").is_err(), "{short:?}");
    }
    // One storage in the pickle, read over and over.
    let storage = torch_files::Storages::default().storage("FloatStorage", 4, vec![0; 4]);
    let within = legacy(&storage, &[string("0")], b"\x88");
    let within = [&within[..], &1u64.to_le_bytes(), &[0; 4]].concat();
    let load = global("torch.storage", "_load_from_bytes");
    let file = [
        b"\x80\x02",
        &load[..],
        b"q\x01",
        &torch_files::byte_string(&within),
        b"\x85q\x02",
        &b"h\x01h\x02R0".repeat(1000),
        b".",
    ]
    .concat();
    assert!(refused(&file).contains("over and over"));
    // Such a storage in such a storage.
    let mut within = within;
    for _ in 0..2000 {
        let object = [&load[..], &torch_files::byte_string(&within), b"\x85R"].concat();
        within = legacy(&object, &[], b"\x88");
    }
    let file = [b"\x80\x02", &load[..], &torch_files::byte_string(&within), b"\x85R."].concat();
    assert!(refused(&file).contains("there is no tensor"));
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
    let outside = "reaches outside of its storage";
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

/// The values of an array of NumPy lie in the pickle.
#[test]
fn arrays_in_pickles() {
    let array = |shape: &[i64], code: &str, bytes: usize| {
        let make = call("numpy.core.multiarray", "_reconstruct", &[]);
        let shape = tuple(&shape.iter().map(|&n| int(n)).collect::<Vec<_>>());
        let dtype = call("numpy", "dtype", &[string(code)]);
        let values = torch_files::byte_string(&vec![0; bytes]);
        let state = tuple(&[int(1), shape, dtype, b"\x89".to_vec(), values]);
        [b"\x80\x02", &dict("w", &[&make[..], &state, b"b"].concat())[..], b"."].concat()
    };
    assert_eq!(exercise(&array(&[2, 3], "f4", 24), "good"), Ok(()));
    for (shape, code, bytes) in [
        (&[2, 3][..], "f4", 23),
        (&[2, 4], "f4", 24),
        (&[i64::MAX, 2], "f4", 24),
        (&[1 << 31, 1 << 31, 1 << 31], "f8", 24),
        (&[6], "O", 24),
        (&[-1], "f4", 4),
        (&[1; 17], "f4", 4),
    ] {
        assert!(exercise(&array(shape, code, bytes), "array").is_err(), "{shape:?} {code}");
    }
}

#[test]
fn zip_archives() {
    let pickle = [&dict("w", &tensor(0, &[6], &[1]))[..], b"."].concat();
    let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", &[0; 24])];
    let good = zip(&entries);
    assert_eq!(exercise(&good, "good"), Ok(()));
    assert!(refused(&zip(&[("a/x", b"")])).contains("a zip archive without weights"));
    assert!(refused(&zip(&[entries[0], entries[1], entries[1]])).contains("two entries"));
    // What it was to be, nobody knows.
    assert!(refused(&good[..good.len() - 30]).starts_with("bad zip file: it is cut off or damaged"));

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
    assert!(message.contains("it is cut off or damaged"), "{message}");
    // Compressed in a way that nobody knows, or not at all although it says so.
    let message = refused(&with(8, 93 << 16));
    assert!(
        message.contains("\"a/data/0\" of the zip archive is encrypted, or compressed in an unknown way"),
        "{message}"
    );
    let message = refused(&with(8, 8 << 16));
    assert!(message.contains("\"a/data/0\": compressed data are damaged"), "{message}");
    // A bomb: a gigabyte, or so it says.
    let mut bomb = with(8, 8 << 16);
    bomb[record + 24..record + 28].copy_from_slice(&(1u32 << 30).to_le_bytes());
    let message = refused(&bomb);
    assert!(
        message.contains("\"a/data/0\" of the zip archive claims to become 1073741824 bytes"),
        "{message}"
    );
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
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| string(key)).collect();
        let pickles = legacy(&dict("w", &tensor(0, &[6], &[1])), &keys, flag);
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

/// An index whose branches all lead to one place: 2^50 ways through 50 nodes.
#[test]
fn hdf5_trees_that_share_branches() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/weights/chunked.h5");
    let mut bytes = std::fs::read(path).unwrap();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let leaf = find(&bytes, b"TREE\x01\0").expect("an index of chunks") as u64;
    let root = find(&bytes, &leaf.to_le_bytes()).expect("the dataset names it");
    let (mut child, key) = (leaf, vec![0; 32]);
    for level in 1..=50u8 {
        let node = bytes.len() as u64;
        bytes.extend([b"TREE", &[1, level, 2, 0][..], &[0xff; 16]].concat());
        for _ in 0..2 {
            bytes.extend([&key[..], &child.to_le_bytes()].concat());
        }
        bytes.extend(&key);
        child = node;
    }
    bytes[root..root + 8].copy_from_slice(&child.to_le_bytes());
    // The superblock knows the end of the file.
    let end = (bytes.len() as u64).to_le_bytes();
    bytes[40..48].copy_from_slice(&end);
    let message = refused(&bytes);
    assert!(message.contains("read over and over"), "{message}");
}

/// Chunks that claim to become more than they may, lie elsewhere, or are not there.
#[test]
fn hdf5_chunks() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/weights");
    let good = std::fs::read(recorded.join("chunked.h5")).unwrap();
    assert_eq!(exercise(&good, "good"), Ok(()));
    let tree = good.windows(6).position(|window| window == b"TREE\x01\0").expect("an index of chunks");
    // The first chunk: its size in the file, its filters, three offsets, its address.
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[tree + 24 + at..][..value.len()].copy_from_slice(value);
        refused(&bytes)
    };
    assert!(with(0, &7u32.to_le_bytes()).contains("compressed data are damaged"));
    assert!(with(0, &(1u32 << 30).to_le_bytes()).contains("the file ends early"));
    // The second filter is the compression.
    assert!(with(4, &2u32.to_le_bytes()).contains("bytes has"));
    assert!(with(8, &1u64.to_le_bytes()).contains("overlap or lie outside"));
    assert!(with(8, &(1u64 << 40).to_le_bytes()).contains("overlap or lie outside"));
    assert!(with(32, &(1u64 << 40).to_le_bytes()).contains("the file ends early"));
    // One chunk less: what is in its place was never written.
    let entries = u16::from_le_bytes([good[tree + 6], good[tree + 7]]);
    let mut fewer = good.clone();
    fewer[tree + 6..tree + 8].copy_from_slice(&(entries - 1).to_le_bytes());
    assert!(refused(&fewer).contains("never written"));
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

/// Names that lead to many networks, or nearly, and to many heads that none of them has.
#[test]
fn names_that_take_time() {
    use model::{Config, Synthetic, Wiring};
    struct Shapes(std::collections::BTreeMap<String, Vec<usize>>);
    impl Weights for Shapes {
        fn names(&self) -> Vec<String> {
            self.0.keys().cloned().collect()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.get(name).cloned()
        }
        fn read(&self, name: &str) -> Result<Vec<f32>, model::weights::WeightsError> {
            Err(model::weights::WeightsError::NoSuchTensor(name.to_owned()))
        }
    }
    let config = Config {
        wiring: Wiring::Torchvision,
        stage_repeats: [1, 1, 1],
        stage_channels: [4, 8, 12, 16, 6],
        bottleneck_ratio: 1.0,
        classes: 3,
    };
    let network = Synthetic::new(&config).unwrap();
    let body: Vec<String> = network.names().into_iter().filter(|name| !name.starts_with("fc.")).collect();
    let mut shapes = std::collections::BTreeMap::new();
    for i in 0..100 {
        let prefix = "a.".repeat(i);
        shapes.extend(body.iter().map(|name| (format!("{prefix}{name}"), network.shape(name).unwrap())));
    }
    for i in 0..30_000 {
        shapes.insert(format!("x{i}.conv1.0.weight"), vec![4, 3, 3, 3]);
        shapes.insert(format!("y{i}.{}weight", "b.".repeat(i % 100)), vec![3, 6]);
        shapes.insert(format!("features.{i}.conv1.0.features.7.weight"), vec![3, 6]);
    }
    let message = find(&Shapes(shapes), &Choice::default()).unwrap_err().to_string();
    assert!(message.contains("no ShuffleNetV2 fits"), "{message}");
}
