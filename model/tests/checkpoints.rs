//! Networks found in checkpoints as people save them: under any key, behind any prefix, with other heads, beside other
//! things. Every file is made here; what was found must be the tensors that were put in.

mod torch_files;

use model::weights::{Checkpoint, Format, WeightsError, save_safetensors};
use model::{Choice, Config, Error, Found, Images, Network, Synthetic, Weights, Wiring, find};
use std::collections::BTreeMap;
use torch_files::{
    Storages, byte_string, call, dict, global, int, list, object, ordered_dict, string, tuple,
};

/// A small network.
fn config(wiring: Wiring) -> Config {
    Config {
        wiring,
        stage_repeats: [2, 1, 1],
        stage_channels: [4, 8, 12, 16, 6],
        bottleneck_ratio: 1.0,
        classes: 3,
    }
}

/// Tensors by name: shape and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors(config: &Config) -> Tensors {
    let weights = Synthetic::new(config).unwrap();
    let tensor = |name: String| {
        let (shape, values) = (weights.shape(&name).unwrap(), weights.read(&name).unwrap());
        (name, (shape, values))
    };
    weights.names().into_iter().map(tensor).collect()
}

/// The tensors of a network with torchvision's names.
fn torchvision() -> Tensors {
    tensors(&config(Wiring::Torchvision))
}

/// Another network of that shape: every value differs.
fn other(tensors: &Tensors) -> Tensors {
    let change = |(name, (shape, values)): (&String, &(Vec<usize>, Vec<f32>))| {
        (name.clone(), (shape.clone(), values.iter().map(|value| value * 0.5 + 0.25).collect()))
    };
    tensors.iter().map(change).collect()
}

fn renamed(tensors: &Tensors, name: impl Fn(&str) -> String) -> Tensors {
    tensors.iter().map(|(old, tensor)| (name(old), tensor.clone())).collect()
}

/// The tensors as a pickled `state_dict()`.
fn state_dict(storages: &mut Storages, tensors: &Tensors) -> Vec<u8> {
    let entries: Vec<(&String, Vec<u8>)> =
        tensors.iter().map(|(name, (shape, values))| (name, storages.tensor(shape, values))).collect();
    ordered_dict(&entries)
}

/// `torch.save(what(state_dict))` in both containers.
fn saved(tensors: &Tensors, what: impl Fn(Vec<u8>, &mut Storages) -> Vec<u8>) -> [Checkpoint; 2] {
    let mut storages = Storages::default();
    let weights = state_dict(&mut storages, tensors);
    let object = what(weights, &mut storages);
    [storages.zip(&object), storages.legacy(&object)].map(|file| Checkpoint::from_bytes(file).unwrap())
}

fn safetensors(name: &str, tensors: &Tensors) -> Checkpoint {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("checkpoints_{name}.safetensors"));
    let slices = tensors.iter().map(|(name, (shape, values))| (&**name, &**shape, &**values));
    save_safetensors(&path, slices).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    checkpoint
}

fn found(checkpoint: &Checkpoint) -> Found<'_> {
    find(checkpoint, &Choice::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn error(checkpoint: &Checkpoint) -> String {
    find(checkpoint, &Choice::default()).expect_err("no network").to_string()
}

/// Checks that these tensors were found, each with its values.
#[track_caller]
fn same(found: &Found<'_>, tensors: &Tensors) {
    for (name, (shape, values)) in tensors {
        assert_eq!(found.weights.shape(name).as_ref(), Some(shape), "{name}");
        assert_eq!(&found.weights.read(name).unwrap(), values, "{name}");
    }
    // And that a network is built from them.
    Network::new(&found.config, &found.weights, kernels::Isa::portable()).unwrap();
}

/// The logits of one small image.
fn logits(found: &Found<'_>) -> Vec<f32> {
    let network = Network::new(&found.config, &found.weights, kernels::Isa::portable()).unwrap();
    let image: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 13) as f32 / 6.5 - 1.0).collect();
    let mut logits = vec![0.0; found.config.classes];
    network.run(&kernels::Serial, Images::nchw(&image, 1, 32, 32), &mut network.workspace(), &mut logits);
    logits
}

#[track_caller]
fn close(a: &[f32], b: &[f32]) {
    let greatest = b.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
    assert!(a.len() == b.len() && greatest > 0.0, "{a:?} {b:?}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * greatest, "{a} and {b}");
    }
}

#[test]
fn any_key() {
    let plain = torchvision();
    let wrap = |key: &'static str| move |weights: Vec<u8>| dict(&[("epoch", int(3)), (key, weights)]);
    for key in ["net", "model", "state_dict", "model_ema", "state_dict_ema", "weights_of_the_best_epoch"] {
        for checkpoint in saved(&plain, |weights, _| wrap(key)(weights)) {
            let found = found(&checkpoint);
            assert_eq!(found.key, key);
            assert_eq!(found.config, config(Wiring::Torchvision));
            same(&found, &plain);
        }
    }
    // Deep inside, in a list, at the top beside numbers as keys.
    let nested = |weights: Vec<u8>, _: &mut Storages| {
        dict(&[("model", dict(&[("inner", dict(&[("best", weights)]))]))])
    };
    for checkpoint in saved(&plain, nested) {
        assert_eq!(found(&checkpoint).key, "model.inner.best");
        same(&found(&checkpoint), &plain);
    }
    let in_list = |weights: Vec<u8>, _: &mut Storages| list(&[dict(&[("lr", int(1))]), weights]);
    for checkpoint in saved(&plain, in_list) {
        assert_eq!(found(&checkpoint).key, "1");
        same(&found(&checkpoint), &plain);
    }
    // Keys that are neither text nor numbers.
    let by_tuple = |weights: Vec<u8>, _: &mut Storages| {
        let phase = call("enum", "Phase", &[int(1)]);
        [&b"}("[..], &tuple(&[string("a"), int(1)]), &int(7), &phase, &weights, b"u"].concat()
    };
    for checkpoint in saved(&plain, by_tuple) {
        assert_eq!(found(&checkpoint).key, "key1");
        same(&found(&checkpoint), &plain);
    }
    let numbers = |weights: Vec<u8>, storages: &mut Storages| {
        [&weights[..], &int(0), &storages.tensor(&[2], &[1.0, 2.0]), b"s"].concat()
    };
    for checkpoint in saved(&plain, numbers) {
        assert_eq!(found(&checkpoint).key, "");
        same(&found(&checkpoint), &plain);
    }
}

#[test]
fn any_prefix_and_wrapper() {
    for (wiring, stage) in [(Wiring::Torchvision, "stage2."), (Wiring::Megvii, "features.")] {
        let plain = tensors(&config(wiring));
        let behind = |prefix: &'static str| move |name: &str| format!("{prefix}{name}");
        for prefix in [
            "module.",
            "_orig_mod.",
            "_orig_mod.module.",
            "module._orig_mod.",
            "model.",
            "net.module.",
            "backbone.",
            "student.backbone.",
            "a.b.c.d.",
            "features.",
            "conv1.",
        ] {
            let wrapped = renamed(&plain, behind(prefix));
            same(&found(&safetensors("prefix", &wrapped)), &plain);
            for checkpoint in saved(&wrapped, |weights, _| dict(&[("state_dict", weights)])) {
                same(&found(&checkpoint), &plain);
            }
        }
        // Parts compiled one by one, sharded, or recomputed.
        for wrapper in ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"] {
            let inside = renamed(&plain, |name| match name.strip_prefix(stage) {
                Some(rest) => format!("{stage}{wrapper}.{rest}"),
                None => name.to_owned(),
            });
            same(&found(&safetensors("inside", &inside)), &plain);
        }
        // Counters beside the wrapped module.
        for counter in ["n_averaged", "epoch_counter"] {
            let mut averaged = renamed(&plain, behind("module."));
            averaged.insert(counter.to_owned(), (vec![], vec![5.0]));
            same(&found(&safetensors("counter", &averaged)), &plain);
        }
    }
}

#[test]
fn several_networks() {
    let plain = torchvision();
    let average = other(&plain);
    let both = |names: [&'static str; 2]| {
        let mut storages = Storages::default();
        let weights = state_dict(&mut storages, &plain);
        let ema = state_dict(&mut storages, &renamed(&average, |name| format!("module.{name}")));
        let optimizer = storages.tensor(&[3], &[0.0; 3]);
        let object = dict(&[(names[1], ema), (names[0], weights), ("optimizer", dict(&[("m", optimizer)]))]);
        Checkpoint::from_bytes(storages.zip(&object)).unwrap()
    };
    for names in [
        ["state_dict", "state_dict_ema"],
        ["model", "model_ema"],
        ["model", "ema"],
        ["model_state_dict", "ema_state_dict"],
        ["net", "swa_model"],
        ["student", "teacher"],
    ] {
        let checkpoint = both(names);
        let usual = found(&checkpoint);
        assert_eq!((&*usual.key, &*usual.others), (names[0], &[names[1].to_owned()][..]));
        assert_eq!(usual.notes, ["tensor \"optimizer.m\" is no part of the network and was left out"]);
        same(&usual, &plain);

        let choice = |key: Option<&str>, ema| Choice { key: key.map(str::to_owned), ema };
        for key in [names[1].to_owned(), format!("{}.module", names[1]), format!("{}.", names[1])] {
            let chosen = find(&checkpoint, &choice(Some(&key), false)).unwrap();
            assert_eq!((&*chosen.key, chosen.others.len()), (names[1], 0));
            same(&chosen, &average);
        }
        let ema = find(&checkpoint, &choice(None, true));
        if names[1] == "teacher" {
            let error = ema.unwrap_err().to_string();
            assert_eq!(error, "no averaged weights (EMA) fit; found \"student\", \"teacher\"");
        } else {
            let ema = ema.unwrap();
            assert_eq!((&*ema.key, &*ema.others), (names[1], &[names[0].to_owned()][..]));
            same(&ema, &average);
        }
        let error = find(&checkpoint, &choice(Some("nothing"), false)).unwrap_err().to_string();
        assert!(error.contains("no tensor under the key \"nothing\"") && error.contains(names[0]), "{error}");
        let error = find(&checkpoint, &choice(Some("optimizer"), false)).unwrap_err().to_string();
        assert!(error.contains("not a ShuffleNetV2") && error.contains("optimizer.m"), "{error}");
    }
    // An average among the tensors of the plain network.
    let mut inside = plain.clone();
    inside.extend(renamed(&average, |name| format!("ema.{name}")));
    let checkpoint = safetensors("inside", &inside);
    let usual = found(&checkpoint);
    assert_eq!((&*usual.key, &*usual.others, &*usual.notes), ("", &["ema".to_owned()][..], &[][..]));
    same(&usual, &plain);
    same(&find(&checkpoint, &Choice { key: None, ema: true }).unwrap(), &average);
    // One object under two keys, as where averaging was off.
    let twice = |weights: Vec<u8>, _: &mut Storages| {
        let remembered = [&weights[..], b"q\x09"].concat();
        dict(&[("state_dict", remembered), ("state_dict_ema", b"h\x09".to_vec())])
    };
    for checkpoint in saved(&plain, twice) {
        assert_eq!((&*found(&checkpoint).key, found(&checkpoint).others.len()), ("state_dict", 1));
        let ema = Choice { key: None, ema: true };
        same(&find(&checkpoint, &ema).unwrap(), &plain);
    }
}

/// The text that `strangers` leaves in the notes; the network must be found.
fn with_strangers(strangers: &[(&str, &[usize])]) -> Result<String, String> {
    let plain = torchvision();
    let mut all = plain.clone();
    for (name, shape) in strangers {
        let len = shape.iter().product();
        all.insert((*name).to_owned(), (shape.to_vec(), vec![0.5; len]));
    }
    let checkpoint = safetensors("strangers", &all);
    let found = find(&checkpoint, &Choice::default()).map_err(|error| error.to_string())?;
    same(&found, &plain);
    Ok(found.notes.join("; "))
}

#[test]
fn harmless_strangers_are_named() {
    for strangers in [
        &[("total_ops", &[1][..]), ("conv1.total_ops", &[1]), ("stage2.0.branch1.0.total_params", &[1])][..],
        &[("loss", &[])],
        &[("loss.weight", &[3]), ("criterion.centers", &[3, 6])],
        // A loss that compares with every class.
        &[("arc_loss.weight", &[7, 3])],
        &[("aux.conv.weight", &[5, 2, 3, 3]), ("aux.bn.running_mean", &[5])],
        &[("optimizer.exp_avg", &[3, 6])],
    ] {
        let notes = with_strangers(strangers).unwrap();
        assert!(notes.contains("left out"), "{notes}");
        for (name, _) in strangers {
            assert!(notes.contains(&format!("\"{name}\"")), "{notes}");
        }
    }
    assert_eq!(with_strangers(&[("conv1.1.num_batches_tracked", &[])]).unwrap(), "");
    let many: Vec<(String, &[usize])> = (0..9).map(|i| (format!("x{i}"), &[2][..])).collect();
    let many: Vec<(&str, &[usize])> = many.iter().map(|(name, shape)| (&**name, *shape)).collect();
    assert_eq!(
        with_strangers(&many).unwrap(),
        "9 tensors are no part of the network and were left out: \"x0\", \"x1\", \"x2\", ..."
    );
}

/// What would change the result is not left out: it is another network.
#[test]
fn strangers_that_matter_are_errors() {
    for (name, shape) in [
        // Attention in a unit; a fourth stage would be named alike.
        ("stage2.0.branch2.8.fc1.weight", &[2, 8, 1, 1][..]),
        ("stage2.0.branch2.conv1.0.weight", &[2, 8, 1, 1]),
        ("stage3.0.branch3.0.weight", &[6, 6, 3, 3]),
        ("conv5.2.weight", &[6]),
        // Layers between the features and the head, and behind it.
        ("fc.norm.weight", &[6]),
        ("bn.running_mean", &[6]),
        ("fc2.weight", &[2, 3]),
    ] {
        let error = with_strangers(&[(name, shape)]).unwrap_err();
        assert!(error.contains(&format!("tensor \"{name}\" of shape {shape:?} has no place in ")), "{error}");
        assert!(error.contains("nearest is the top level"), "{error}");
    }
}

#[test]
fn the_last_linear_layer_is_the_head() {
    for wiring in Wiring::ALL {
        let plain = tensors(&config(wiring));
        let names: &[(&str, &str)] = match wiring {
            Wiring::Keras => &[
                ("fc/kernel:0", "fc/bias:0"),
                ("dense/kernel:0", "dense/bias:0"),
                ("dense_3/kernel:0", "dense_3/bias:0"),
                ("predictions/kernel", "predictions/bias"),
            ],
            _ => &[
                ("fc.1.weight", "fc.1.bias"),
                ("fc.weight", "fc.bias"),
                ("classifier.weight", "classifier.bias"),
                ("head.fc.weight", "head.fc.bias"),
                ("classifier.0.weight", "classifier.0.bias"),
                ("my_layer.weight", "my_layer.bias"),
            ],
        };
        let (own, own_bias) = match wiring {
            Wiring::Torchvision => ("fc.weight", "fc.bias"),
            Wiring::Megvii => ("classifier.0.weight", "classifier.0.bias"),
            Wiring::Keras => ("fc/kernel:0", "fc/bias:0"),
        };
        for (weight, bias) in names {
            for with_bias in [true, false] {
                let mut head = plain.clone();
                let matrix = head.remove(own).unwrap();
                head.remove(own_bias);
                head.insert((*weight).to_owned(), matrix.clone());
                let mut expected = plain.clone();
                let values = if with_bias { vec![0.25, -1.0, 3.0] } else { vec![0.0; 3] };
                if with_bias || wiring != Wiring::Megvii {
                    expected.insert(own_bias.to_owned(), (vec![3], values.clone()));
                }
                if with_bias {
                    head.insert((*bias).to_owned(), (vec![3], values));
                }
                let checkpoint = safetensors("head", &head);
                let found = found(&checkpoint);
                assert_eq!(found.config, config(wiring));
                same(&found, &expected);
                let told =
                    found.notes.iter().any(|note| note.contains(&format!("\"{weight}\", of 3 classes")));
                assert_eq!(told, *weight != own, "{:?}", found.notes);
            }
        }
    }
}

#[test]
fn a_head_beside_the_network() {
    let plain = torchvision();
    let mut outside = renamed(&plain, |name| match name.strip_prefix("fc.") {
        Some(rest) => format!("model.head.{rest}"),
        None => format!("model.backbone.body.{name}"),
    });
    // Another network has its own.
    outside.insert("teacher.fc.weight".into(), (vec![9, 6], vec![0.0; 54]));
    outside.insert("teacher.conv1.0.weight".into(), (vec![2, 3, 3, 3], vec![0.0; 54]));
    let checkpoint = safetensors("beside", &outside);
    let beside = found(&checkpoint);
    assert_eq!(beside.key, "model.backbone.body");
    same(&beside, &plain);

    // As a 1x1 convolution.
    let mut convolution = plain.clone();
    let (_, values) = convolution.remove("fc.weight").unwrap();
    convolution.insert("fc.weight".into(), (vec![3, 6, 1, 1], values));
    same(&found(&safetensors("convolution", &convolution)), &plain);
}

#[test]
fn without_a_head_it_ends_in_features() {
    for wiring in Wiring::ALL {
        let mut body = tensors(&config(wiring));
        body.retain(|name, _| !["fc", "classifier"].iter().any(|head| name.starts_with(head)));
        let checkpoint = safetensors("features", &body);
        let found = found(&checkpoint);
        assert_eq!(found.config, Config { classes: 0, ..config(wiring) });
        assert_eq!(
            found.notes,
            ["there is no last linear layer: the network ends in the averaged features of conv5"]
        );
        for (name, (_, values)) in &body {
            assert_eq!(&found.weights.read(name).unwrap(), values, "{name}");
        }
    }
}

#[test]
fn heads_that_could_be_one_or_another() {
    let mut two = torchvision();
    let (weight, bias) = (two.remove("fc.weight").unwrap(), two.remove("fc.bias").unwrap());
    two.insert("a.weight".into(), weight.clone());
    two.insert("b.weight".into(), weight.clone());
    let error_of = |tensors: &Tensors| error(&safetensors("ambiguous", tensors));
    let said = error_of(&two);
    assert!(
        said.contains("tensors \"a.weight\" and \"b.weight\" could both be the last linear layer"),
        "{said}"
    );
    // Two layers, one behind the other.
    two.remove("b.weight");
    two.insert("b.weight".into(), (vec![5, 3], vec![0.0; 15]));
    let said = error_of(&two);
    assert!(said.contains("tensor \"b.weight\" of shape [5, 3] has no place"), "{said}");
    // The first is of another size than the features.
    two.insert("a.weight".into(), (vec![3, 7], vec![0.0; 21]));
    two.remove("b.weight");
    let said = error_of(&two);
    assert!(said.contains("tensor \"a.weight\": expected shape [3, 6], found [3, 7]"), "{said}");
    // A bias of another size.
    two.insert("a.weight".into(), weight);
    two.insert("a.bias".into(), (vec![4], vec![0.0; 4]));
    let said = error_of(&two);
    assert!(said.contains("tensor \"a.bias\": expected shape [3], found [4]"), "{said}");
    two.insert("a.bias".into(), bias);
    assert_eq!(found(&safetensors("ambiguous", &two)).config.classes, 3);
}

/// A layer that would have to be computed first is not the same as none.
#[test]
fn heads_in_parts_or_of_another_type_are_errors() {
    let plain = torchvision();
    for [part, other] in [
        ["fc.weight_v", "fc.weight_g"],
        ["fc.parametrizations.weight.original1", "fc.parametrizations.weight.original0"],
        ["classifier.weight_orig", "classifier.weight_mask"],
    ] {
        let mut parts = plain.clone();
        let weight = parts.remove("fc.weight").unwrap();
        parts.insert(part.into(), weight);
        parts.insert(other.into(), (vec![3, 1], vec![1.0; 3]));
        let said = error(&safetensors("parts", &parts));
        assert!(said.contains(&format!("tensor \"{part}\" of shape [3, 6] has no place")), "{said}");
    }
    let mut none = plain.clone();
    none.insert("fc.weight".into(), (vec![0, 6], vec![]));
    let said = error(&safetensors("no_classes", &none));
    assert!(said.contains("\"fc.weight\": expected shape [1, 6], found [0, 6]"), "{said}");
    // In TensorFlow's order, the number of classes is the last.
    let mut keras = tensors(&config(Wiring::Keras));
    keras.insert("fc/kernel:0".into(), (vec![7, 3], vec![0.0; 21]));
    let said = error(&safetensors("keras_head", &keras));
    assert!(said.contains("\"fc/kernel:0\": expected shape [6, 3], found [7, 3]"), "{said}");

    struct Integers(Tensors);
    impl Weights for Integers {
        fn names(&self) -> Vec<String> {
            self.0.keys().cloned().collect()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.get(name).map(|(shape, _)| shape.clone())
        }
        fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
            if !self.is_float(name) {
                let dtype = model::weights::DType::I32;
                return Err(WeightsError::NotFloat { name: name.to_owned(), dtype });
            }
            Ok(self.0[name].1.clone())
        }
        fn is_float(&self, name: &str) -> bool {
            name != "fc.weight"
        }
    }
    let integers = Integers(plain);
    let said = find(&integers, &Choice::default()).expect_err("integers").to_string();
    assert!(said.contains("tensor \"fc.weight\" holds int32 values"), "{said}");
}

#[test]
fn objects_beside_the_weights_mean_nothing() {
    let plain = torchvision();
    let check = |what: &dyn Fn(&mut Storages) -> Vec<u8>, name: &str| {
        for checkpoint in saved(&plain, |weights, storages| {
            let beside = what(storages);
            dict(&[("before", beside), ("state_dict", weights), ("after", what(storages))])
        }) {
            same(&found(&checkpoint), &plain);
            assert_eq!(checkpoint.warnings(), [""; 0], "{name}");
        }
    };
    check(&|_| call("datetime", "datetime", &[byte_string(&[7, 234, 1, 2, 0, 0, 0, 0, 0, 0])]), "a date");
    check(&|_| global("torch.optim.swa_utils", "SWALR._cosine_anneal"), "a function");
    check(&|_| call("builtins", "getattr", &[global("a", "B"), string("method")]), "a method");
    let scheduler = [&call("builtins", "getattr", &[global("a", "B"), string("make")])[..], b")R"].concat();
    check(&|_| scheduler.clone(), "what a method returned");
    check(
        &|_| [&call("collections", "deque", &[b")".to_vec(), int(9)])[..], b"(", &int(1), b"e"].concat(),
        "a deque",
    );
    check(
        &|_| [&global("my.utils", "AttributeDict")[..], b")\x81(", &string("lr"), &int(1), b"u"].concat(),
        "a dict",
    );
    check(&|_| call("enum", "Enum", &[int(1)]), "an enum");
    check(&|_| b"(I12\nI01\nF0.5\nV\xc3\xa9\n(lp7\n0g7\nt".to_vec(), "protocol 0");
    let module = |storages: &mut Storages| {
        let weight = storages.tensor(&[3], &[1.0, 2.0, 3.0]);
        let (parameters, buffers) = (ordered_dict::<&str>(&[]), ordered_dict(&[("weight", weight)]));
        let state = [("training", b"\x88".to_vec()), ("_parameters", parameters), ("_buffers", buffers)];
        object("torch.nn.modules.loss", "CrossEntropyLoss", &state)
    };
    check(&module, "a loss");
    check(&|storages| storages.tensor_of("ComplexFloatStorage", 8, &[2], vec![0; 16]), "complex numbers");
    let float8 = |storages: &mut Storages| {
        let storage = storages.storage("UntypedStorage", 1, vec![0; 2]);
        let (size, hooks, no) = (tuple(&[int(2)]), b"}".to_vec(), b"\x89".to_vec());
        let dtype = global("torch", "float8_e4m3fn");
        let args = [storage, int(0), size, tuple(&[int(1)]), no, hooks.clone(), dtype, hooks];
        call("torch._utils", "_rebuild_tensor_v3", &args)
    };
    check(&float8, "eight bits");
    let quantised = |storages: &mut Storages| {
        let storage = storages.storage("QInt8Storage", 1, vec![0; 2]);
        call("torch._utils", "_rebuild_qtensor", &[storage, int(0), tuple(&[int(2)]), tuple(&[int(1)])])
    };
    check(&quantised, "quantised");
    check(&|_| call("torch._utils", "_rebuild_sparse_tensor", &[b"N".to_vec()]), "sparse");

    // Where such a tensor is needed, the error is about it.
    let mut storages = Storages::default();
    let bad = quantised(&mut storages);
    let mut entries: Vec<(&str, Vec<u8>)> =
        plain.iter().map(|(name, (shape, values))| (&**name, storages.tensor(shape, values))).collect();
    for (name, entry) in &mut entries {
        if ["fc.weight", "stage2.0.branch1.0.weight"].contains(name) {
            *entry = bad.clone();
        }
    }
    let said = error(&Checkpoint::from_bytes(storages.zip(&dict(&entries))).unwrap());
    assert!(said.contains("tensor \"stage2.0.branch1.0.weight\": it is quantised"), "{said}");
    let good = (&plain["stage2.0.branch1.0.weight"].0, &plain["stage2.0.branch1.0.weight"].1);
    for (name, entry) in &mut entries {
        if *name == "stage2.0.branch1.0.weight" {
            *entry = storages.tensor(good.0, good.1);
        }
    }
    let said = error(&Checkpoint::from_bytes(storages.zip(&dict(&entries))).unwrap());
    assert!(said.contains("tensor \"fc.weight\": it is quantised"), "{said}");
}

/// A module as `torch.save(module)` pickles it.
fn module(storages: &mut Storages, tensors: &Tensors, prefix: &str, script: bool) -> Vec<u8> {
    let mut own: Vec<(String, Vec<u8>)> = Vec::new();
    let mut inner: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, (shape, values)) in tensors {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            None => own.push((rest.to_owned(), storages.tensor(shape, values))),
            Some((first, _)) if inner.iter().any(|(known, _)| known == first) => {}
            Some((first, _)) => {
                let below = module(storages, tensors, &format!("{prefix}{first}."), script);
                inner.push((first.to_owned(), below));
            }
        }
    }
    if script {
        own.extend(inner);
        let own: Vec<(&str, Vec<u8>)> = own.iter().map(|(name, value)| (&**name, value.clone())).collect();
        return object("__torch__.shufflenet", "Module", &own);
    }
    let state = [
        ("training", b"\x89".to_vec()),
        ("_parameters", ordered_dict(&own)),
        ("_modules", ordered_dict(&inner)),
    ];
    object("my.package", "Module", &state)
}

#[test]
fn whole_modules_and_torchscript() {
    let plain = torchvision();
    let mut storages = Storages::default();
    let whole = module(&mut storages, &plain, "", false);
    let parallel = object("torch.nn", "DataParallel", &[("_modules", dict(&[("module", whole.clone())]))]);
    let trained = dict(&[("epoch", int(1)), ("model", whole.clone())]);
    for object in [&whole, &parallel, &trained] {
        for file in [storages.zip(object), storages.legacy(object)] {
            same(&found(&Checkpoint::from_bytes(file).unwrap()), &plain);
        }
    }
    // Before PyTorch 1.6 the class came with its source.
    let class =
        [&tuple(&[string("module"), global("my", "Net"), string("net.py"), string("class")])[..], b"Q"];
    let state = [("_modules", dict(&[("net", whole)]))];
    let old = [&class.concat()[..], b")\x81", &dict(&state), b"b"].concat();
    same(&found(&Checkpoint::from_bytes(storages.legacy(&old)).unwrap()), &plain);

    let mut storages = Storages::default();
    let script = module(&mut storages, &plain, "", true);
    // Its mark is the file of constants.
    let file = storages.zip_with(&script, &[("a/constants.pkl", b"\x80\x02).")]);
    let checkpoint = Checkpoint::from_bytes(file).unwrap();
    assert_eq!(checkpoint.format(), Format::TorchScript);
    assert!(checkpoint.warnings()[0].contains("TorchScript"));
    same(&found(&checkpoint), &plain);
}

/// What batch normalisation does, folded into a convolution by hand.
fn fold(tensors: &Tensors, layers: &dyn Fn(&str) -> bool) -> Tensors {
    let mut folded = tensors.clone();
    for (mean_name, (_, mean)) in tensors.iter().filter(|(name, _)| name.ends_with(".running_mean")) {
        let norm = mean_name.strip_suffix(".running_mean").unwrap();
        let (sequence, at) = norm.rsplit_once('.').unwrap();
        let convolution = format!("{sequence}.{}", at.parse::<usize>().unwrap() - 1);
        if !layers(&convolution) {
            continue;
        }
        let values = |name: &str| tensors[&format!("{norm}.{name}")].1.clone();
        let scale: Vec<f64> = values("weight")
            .iter()
            .zip(values("running_var"))
            .map(|(&gamma, variance)| f64::from(gamma) / (f64::from(variance) + 1e-5).sqrt())
            .collect();
        let (shape, weights) = folded.get_mut(&format!("{convolution}.weight")).unwrap();
        let inner: usize = shape[1..].iter().product();
        for (at, weight) in weights.iter_mut().enumerate() {
            *weight = (f64::from(*weight) * scale[at / inner]) as f32;
        }
        let bias = values("bias")
            .iter()
            .zip(mean.iter().zip(&scale))
            .map(|(&beta, (&mean, scale))| (f64::from(beta) - f64::from(mean) * scale) as f32)
            .collect();
        folded.insert(format!("{convolution}.bias"), (vec![mean.len()], bias));
        for name in ["weight", "bias", "running_mean", "running_var"] {
            folded.remove(&format!("{norm}.{name}"));
        }
    }
    folded
}

#[test]
fn folded_batch_normalisation() {
    for wiring in [Wiring::Torchvision, Wiring::Megvii] {
        let plain = tensors(&config(wiring));
        let expected = logits(&found(&safetensors("unfolded", &plain)));
        let first = if wiring == Wiring::Megvii { "first_conv" } else { "conv1" };
        let all = fold(&plain, &|_| true);
        let one = fold(&plain, &|layer| layer.starts_with(first));
        // PyTorch's fuse_modules puts convolution and activation into one module.
        let fused = renamed(&one, |name| name.replace(&format!("{first}.0."), &format!("{first}.0.0.")));
        assert!(all.keys().all(|name| !name.contains("running")) && one.len() == plain.len() - 3);
        for tensors in [all, one, fused] {
            let checkpoint = safetensors("folded", &tensors);
            let found = found(&checkpoint);
            assert_eq!(found.config, config(wiring));
            close(&logits(&found), &expected);
            // Nothing that was made up is written.
            assert_eq!(found.weights.stored().len(), tensors.len());
        }
        // A folded one that lost its bias is damaged, not folded.
        let mut lost = fold(&plain, &|_| true);
        lost.remove(&format!("{first}.0.bias"));
        let said = error(&safetensors("lost", &lost));
        assert!(
            said.contains(&format!("tensor \"{first}.1.running_mean\" of shape [4] is missing")),
            "{said}"
        );
    }
}

#[test]
fn a_bias_before_batch_normalisation() {
    let plain = torchvision();
    let mut biased = plain.clone();
    biased.insert("conv1.0.bias".into(), (vec![4], vec![0.5, -0.25, 1.0, 0.0]));
    let mut moved = plain.clone();
    let mean = &mut moved.get_mut("conv1.1.running_mean").unwrap().1;
    mean.iter_mut().zip([0.5, -0.25, 1.0, 0.0]).for_each(|(mean, bias)| *mean -= bias);
    let checkpoint = safetensors("biased", &biased);
    same(&found(&checkpoint), &moved);
    assert!(found(&checkpoint).weights.stored().contains(&("conv1.0.bias", "conv1.0.bias")));
}

#[test]
fn batch_normalisation_without_scale_and_shift() {
    let plain = torchvision();
    let mut bare = plain.clone();
    let (mut ones, mut zeros) = (Vec::new(), Vec::new());
    for norm in ["conv1.1", "stage2.0.branch1.1"] {
        let len = bare.remove(&format!("{norm}.weight")).unwrap().1.len();
        bare.remove(&format!("{norm}.bias"));
        ones.push((format!("{norm}.weight"), (vec![len], vec![1.0; len])));
        zeros.push((format!("{norm}.bias"), (vec![len], vec![0.0; len])));
    }
    let mut expected = plain.clone();
    expected.extend(ones.into_iter().chain(zeros));
    let checkpoint = safetensors("bare", &bare);
    same(&found(&checkpoint), &expected);
    assert!(
        found(&checkpoint).notes[0]
            .starts_with("batch normalisations without scale or shift, taken as 1 and 0: 2,")
    );
    // One of the two alone is damage.
    let mut damaged = plain;
    damaged.remove("conv1.1.weight");
    let said = error(&safetensors("damaged", &damaged));
    assert!(said.contains("tensor \"conv1.1.weight\" of shape [4] is missing"), "{said}");
}

/// A network for pictures of one channel reads what a network reads that has the same kernels for its first channel and
/// zeros for the others, when that is given the grey picture as its first channel.
#[test]
fn grey_networks() {
    for wiring in Wiring::ALL {
        let mut grey = tensors(&config(wiring));
        let first = ["conv1.0.weight", "first_conv.0.weight", "conv1/kernel:0"];
        let name = first.into_iter().find(|name| grey.contains_key(*name)).unwrap();
        let (axis, inner) = if wiring == Wiring::Keras { (2, 4) } else { (1, 9) };
        let (shape, kernels) = grey.get_mut(name).unwrap();
        shape[axis] = 1;
        *kernels = kernels.chunks(inner).step_by(3).flatten().copied().collect();
        let mut reference = grey.clone();
        let (shape, kernels) = reference.get_mut(name).unwrap();
        shape[axis] = 3;
        *kernels = kernels
            .chunks(inner)
            .flat_map(|part| [part, &vec![0.0; inner], &vec![0.0; inner]].concat())
            .collect();

        let (grey, reference) = (safetensors("grey", &grey), safetensors("grey_reference", &reference));
        let (grey, reference) = (found(&grey), found(&reference));
        assert_eq!(reference.notes, [""; 0]);
        assert!(grey.notes.len() == 1 && grey.notes[0].contains("one channel"), "{:?}", grey.notes);
        assert_eq!(grey.config, reference.config);
        let stored = grey.weights.stored();
        assert!(stored.contains(&(name, name)), "{stored:?}");

        let value = |channel: usize, at: usize| (at * (channel + 3) % 13) as f32 / 6.5 - 1.0;
        let run = |found: &Found<'_>, value: &dyn Fn(usize, usize) -> f32| {
            let network = Network::new(&found.config, &found.weights, kernels::Isa::portable()).unwrap();
            let image: Vec<f32> = (0..3).flat_map(|c| (0..32 * 32).map(move |at| value(c, at))).collect();
            let mut logits = vec![0.0; 3];
            let image = Images::nchw(&image, 1, 32, 32);
            network.run(&kernels::Serial, image, &mut network.workspace(), &mut logits);
            logits
        };
        // A grey picture, which has three equal channels.
        close(&run(&grey, &|_, at| value(0, at)), &run(&reference, &|_, at| value(0, at)));
        // One of colours; the authors' own code has blue first.
        let [r, b] = if wiring == Wiring::Megvii { [2, 0] } else { [0, 2] };
        let of_colours = |_, at| 0.299 * value(r, at) + 0.587 * value(1, at) + 0.114 * value(b, at);
        close(&run(&grey, &value), &run(&reference, &of_colours));
    }
    // Two channels, or four, are nobody's.
    for channels in [2, 4] {
        let mut tensors = torchvision();
        tensors.insert("conv1.0.weight".into(), (vec![4, channels, 3, 3], vec![0.5; 4 * channels * 9]));
        let error = error(&safetensors("channels", &tensors));
        assert!(error.contains("\"conv1.0.weight\"") && error.contains("[4, 3, 3, 3]"), "{error}");
    }
}

#[test]
fn the_error_names_the_nearest_candidate() {
    let mut near = torchvision();
    near.insert("stage3.0.branch2.0.weight".into(), (vec![5, 8, 1, 1], vec![0.0; 40]));
    let wrapped = renamed(&near, |name| format!("model.{name}"));
    let said = error(&safetensors("nearest", &wrapped));
    let of = torchvision().len() - 2;
    assert_eq!(
        said,
        format!(
            "no ShuffleNetV2 fits; nearest is \"model\", named as torchvision's, where {} of {of} tensors fit: tensor \
             \"model.stage3.0.branch2.0.weight\": expected shape [6, 8, 1, 1], found [5, 8, 1, 1]",
            of - 1
        )
    );
    // Of several, the one with the most tensors.
    let mut both = wrapped.clone();
    both.insert("small.conv1.0.weight".into(), (vec![4, 3, 3, 3], vec![0.0; 108]));
    assert_eq!(error(&safetensors("nearest", &both)), said);
    let mut no_conv5 = torchvision();
    no_conv5.remove("conv5.0.weight");
    let said = error(&safetensors("nearest", &no_conv5));
    assert!(
        said.ends_with("named as torchvision's: tensor \"conv5.0.weight\" is missing from the checkpoint"),
        "{said}"
    );
    // Nothing of the kind.
    let resnet: Tensors = [("layer1.0.conv1.weight".to_owned(), (vec![2, 2, 3, 3], vec![0.0; 36]))].into();
    let said = error(&safetensors("nearest", &resnet));
    assert!(said.starts_with("not a ShuffleNetV2") && said.contains("layer1.0.conv1.weight"), "{said}");
}

#[test]
fn plain_pickles() {
    let plain = torchvision();
    // NumPy's arrays: from Python 3, one of them in Fortran's order and one big-endian; and by protocol 5.
    let array = |name: &str, shape: &[usize], values: &[f32]| {
        let (order, bytes): (&str, Vec<u8>) = match name {
            "conv1.0.weight" => (">", values.iter().flat_map(|value| value.to_be_bytes()).collect()),
            "fc.weight" => {
                let transposed = (0..values.len()).map(|i| values[i % shape[0] * shape[1] + i / shape[0]]);
                ("<", transposed.flat_map(f32::to_le_bytes).collect())
            }
            _ => ("<", values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        let dtype = call("numpy", "dtype", &[string("f4"), b"\x89".to_vec(), b"\x88".to_vec()]);
        let dtype = [&dtype[..], &tuple(&[int(3), string(order), b"N".to_vec()]), b"b"].concat();
        let shape = tuple(&shape.iter().map(|&n| int(n as i64)).collect::<Vec<_>>());
        if name == "fc.bias" {
            let args = [byte_string(&bytes), dtype, shape, string("C")];
            return call("numpy._core.numeric", "_frombuffer", &args);
        }
        let args = [global("numpy", "ndarray"), tuple(&[int(0)]), byte_string(b"b")];
        let fortran = if name == "fc.weight" { b"\x88" } else { b"\x89" };
        let state = tuple(&[int(1), shape, dtype, fortran.to_vec(), byte_string(&bytes)]);
        [&call("numpy._core.multiarray", "_reconstruct", &args)[..], &state, b"b"].concat()
    };
    let entries: Vec<(&String, Vec<u8>)> =
        plain.iter().map(|(name, (shape, values))| (name, array(name, shape, values))).collect();
    let file = [b"\x80\x04", &dict(&[("state_dict", dict(&entries))])[..], b"."].concat();
    let checkpoint = Checkpoint::from_bytes(file).unwrap();
    assert_eq!(checkpoint.format(), Format::Pickle);
    same(&found(&checkpoint), &plain);
    // The same in what torch.save writes.
    let storages = Storages::default();
    same(&found(&Checkpoint::from_bytes(storages.zip(&dict(&entries))).unwrap()), &plain);
    same(&found(&Checkpoint::from_bytes(storages.legacy(&dict(&entries))).unwrap()), &plain);

    // PyTorch's tensors, which Python's pickle gives their storages as whole files.
    let tensor = |shape: &[usize], values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut within = Storages::default();
        let storage = within.storage("FloatStorage", 4, bytes);
        let storage = call("torch.storage", "_load_from_bytes", &[byte_string(&within.legacy(&storage))]);
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        let ints = |values: &[usize]| tuple(&values.iter().map(|&v| int(v as i64)).collect::<Vec<_>>());
        call("torch._utils", "_rebuild_tensor_v2", &[storage, int(0), ints(shape), ints(&strides)])
    };
    let entries: Vec<(&String, Vec<u8>)> =
        plain.iter().map(|(name, (shape, values))| (name, tensor(shape, values))).collect();
    let file = [b"\x80\x04", &ordered_dict(&entries)[..], b"."].concat();
    same(&found(&Checkpoint::from_bytes(file).unwrap()), &plain);
}

/// Tensors under names of one's own, whoever made them.
#[test]
fn weights_of_ones_own() {
    struct Own(Tensors);
    impl Weights for Own {
        fn names(&self) -> Vec<String> {
            self.0.keys().cloned().collect()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.get(name).map(|(shape, _)| shape.clone())
        }
        fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
            self.0.get(name).map(|tensor| tensor.1.clone()).ok_or(WeightsError::NoSuchTensor(name.into()))
        }
    }
    let plain = torchvision();
    let own = Own(renamed(&plain, |name| format!("mine.{name}")));
    same(&find(&own, &Choice::default()).unwrap(), &plain);
    assert_eq!(Config::recognise(&own).unwrap(), config(Wiring::Torchvision));
    Network::load(&own, kernels::Isa::portable()).unwrap();
    assert!(matches!(
        find(&Own(Tensors::new()), &Choice::default()),
        Err(Error::Unrecognised { first: None })
    ));
}
