//! Networks in files as versions of Keras write them: names with and without TensorFlow's numbers, layers that were
//! never named, groups by layer or by class, and what a description of the model says.

mod torch_files;

use hdf5_pure::{AttrValue, FileBuilder, GroupBuilder};
use kernels::{Isa, Serial};
use model::weights::{Checkpoint, Format, convert};
use model::{Choice, Config, Found, Images, Network, Synthetic, Weights, Wiring, find};
use std::path::Path;

fn config() -> Config {
    Config {
        wiring: Wiring::Keras,
        stage_repeats: [2, 1, 2],
        stage_channels: [4, 8, 12, 16, 6],
        bottleneck_ratio: 1.0,
        classes: 3,
    }
}

/// Name, shape, values.
type Tensor = (String, Vec<usize>, Vec<f32>);

fn tensors() -> Vec<Tensor> {
    let weights = Synthetic::new(&config()).unwrap();
    let tensor = |name: String| {
        let (shape, values) = (weights.shape(&name).unwrap(), weights.read(&name).unwrap());
        (name, shape, values)
    };
    weights.names().into_iter().map(tensor).collect()
}

#[track_caller]
fn same(checkpoint: &Checkpoint) {
    let found = find(checkpoint, &Choice::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.config, config());
    for (name, shape, values) in tensors() {
        assert_eq!(found.weights.shape(&name), Some(shape), "{name}");
        assert_eq!(found.weights.read(&name).unwrap(), values, "{name}");
    }
    Network::new(&found.config, &found.weights, Isa::portable()).unwrap();
}

/// A layer: its name, and its weights by name.
type Layer = (String, Vec<Tensor>);

/// The tensors by layer, kernel before bias as Keras has them.
fn layers() -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let rank = |name: &str| {
        ["kernel", "bias", "gamma", "beta", "mean", "variance"].iter().position(|v| name.contains(v))
    };
    for tensor in tensors() {
        let layer = tensor.0.rsplit_once('/').unwrap().0.to_owned();
        match layers.iter_mut().find(|(name, _)| *name == layer) {
            Some((_, weights)) => weights.push(tensor),
            None => layers.push((layer, vec![tensor])),
        }
    }
    for (layer, weights) in &mut layers {
        weights.sort_by_key(|(name, ..)| rank(name.strip_prefix(&**layer).unwrap()));
    }
    layers
}

fn strings(values: impl Iterator<Item = String>) -> AttrValue {
    AttrValue::StringArray(values.collect())
}

/// Datasets by path, each path cut into groups.
fn fill(group: &mut GroupBuilder, tensors: &[(String, &Tensor)]) {
    let mut done: Vec<&str> = Vec::new();
    for (path, (_, shape, values)) in tensors {
        match path.split_once('/') {
            None => {
                let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
                group.create_dataset(path).with_f32_data(values).with_shape(&shape);
            }
            Some((first, _)) if done.contains(&first) => {}
            Some((first, _)) => {
                done.push(first);
                let mut inner = group.create_group(first);
                let below: Vec<(String, &Tensor)> = tensors
                    .iter()
                    .filter_map(|(path, tensor)| {
                        Some((path.strip_prefix(first)?.strip_prefix('/')?.to_owned(), *tensor))
                    })
                    .collect();
                fill(&mut inner, &below);
                group.add_group(inner.finish());
            }
        }
    }
}

/// A file of Keras 2: a group for each layer, in which its weights are called `weight(layer, own name)`. The name of a
/// group may have no slash here, or the builder would have to merge groups.
fn keras_2(
    layers: &[Layer],
    weight: impl Fn(&str, &str) -> String,
    model_config: Option<&str>,
) -> Checkpoint {
    Checkpoint::from_bytes(keras_2_file(layers, weight, model_config)).unwrap()
}

fn keras_2_file(
    layers: &[Layer],
    weight: impl Fn(&str, &str) -> String,
    model_config: Option<&str>,
) -> Vec<u8> {
    let mut file = FileBuilder::new();
    let group_name = |layer: &str| layer.replace('/', "_");
    file.set_attr("layer_names", strings(layers.iter().map(|(name, _)| group_name(name))));
    if let Some(text) = model_config {
        file.set_attr("model_config", AttrValue::String(text.to_owned()));
    }
    for (layer, weights) in layers {
        let own = |name: &str| weight(layer, name.rsplit('/').next().unwrap());
        let mut group = file.create_group(&group_name(layer));
        group.set_attr("weight_names", strings(weights.iter().map(|(name, ..)| own(name))));
        let named: Vec<(String, &Tensor)> = weights.iter().map(|tensor| (own(&tensor.0), tensor)).collect();
        fill(&mut group, &named);
        file.add_group(group.finish());
    }
    file.finish().unwrap()
}

#[test]
fn names_with_and_without_numbers() {
    let bare = |own: &str| own.trim_end_matches(":0").to_owned();
    same(&keras_2(&layers(), |layer, own| format!("{layer}/{own}"), None));
    same(&keras_2(&layers(), |layer, own| format!("{layer}/{}", bare(own)), None));
    same(&keras_2(&layers(), |layer, own| format!("{layer}/{}_1:0", bare(own)), None));
    same(&keras_2(&layers(), |_, own| bare(own), None));
    // A model that was made twice in a session: its scopes have numbers, its layers have not.
    same(&keras_2(&layers(), |layer, own| format!("{layer}_1/{own}"), None));
}

#[test]
fn a_model_in_a_model() {
    // The body is one layer, which lists all of its weights; the head is another.
    let (head, body): (Vec<Tensor>, Vec<Tensor>) =
        tensors().into_iter().partition(|(name, ..)| name.starts_with("fc/"));
    for number in ["", "_1"] {
        let weight = |name: &str| {
            let (layer, own) = name.rsplit_once('/').unwrap();
            format!("{layer}{number}/{own}")
        };
        for dense in ["fc", "dense", "dense_12"] {
            let mut file = FileBuilder::new();
            let mut whole = file.create_group("model_weights");
            whole.set_attr(
                "layer_names",
                strings(["shufflenetv2", dense].iter().map(|&name| name.to_owned())),
            );
            let mut inner = whole.create_group("shufflenetv2");
            inner.set_attr("weight_names", strings(body.iter().map(|(name, ..)| weight(name))));
            let named: Vec<(String, &Tensor)> =
                body.iter().map(|tensor| (weight(&tensor.0), tensor)).collect();
            fill(&mut inner, &named);
            whole.add_group(inner.finish());
            let mut inner = whole.create_group(dense);
            let own = |name: &str| name.replace("fc/", &format!("{dense}/"));
            inner.set_attr("weight_names", strings(head.iter().map(|(name, ..)| own(name))));
            let named: Vec<(String, &Tensor)> = head.iter().map(|tensor| (own(&tensor.0), tensor)).collect();
            fill(&mut inner, &named);
            whole.add_group(inner.finish());
            file.add_group(whole.finish());
            same(&Checkpoint::from_bytes(file.finish().unwrap()).unwrap());
        }
    }
}

/// The layers in Keras's own order: by distance from the output, the main branch first.
fn in_order() -> Vec<Layer> {
    let mut layers = layers();
    let rank = |name: &str| {
        let parts =
            ["1x1conv_1", "bn_1x1conv_1", "3x3dwconv", "3x3dwconv_2", "bn_3x3dwconv", "bn_3x3dwconv_2"];
        let more = ["1x1conv_2", "1x1_conv_3", "bn_1x1conv_2", "bn_1x1conv_3"];
        let place = |last: &str| parts.iter().chain(&more).position(|part| *part == last).unwrap();
        match name.split('/').collect::<Vec<_>>()[..] {
            ["conv1"] => (0, 0, 0),
            [stage, block, last] => (stage.as_bytes()[5], block.as_bytes()[5], place(last)),
            ["1x1conv5_out"] => (254, 0, 0),
            _ => (255, 0, 0),
        }
    };
    layers.sort_by_key(|(name, _)| rank(name));
    layers
}

/// Groups as Keras 3 calls them: the class in small letters, and a number from the second on.
fn by_class(layers: &[Layer]) -> Vec<String> {
    let mut counts = std::collections::HashMap::new();
    let class = |layer: &Layer| match &layer.1[0] {
        (name, ..) if name.contains("depthwise") => "depthwise_conv2d",
        (_, shape, _) if shape.len() == 4 => "conv2d",
        (_, shape, _) if shape.len() == 2 => "dense",
        _ => "batch_normalization",
    };
    let mut name = |layer: &Layer| {
        let class = class(layer);
        let count = counts.entry(class).or_insert(0);
        *count += 1;
        if *count == 1 { class.to_owned() } else { format!("{class}_{}", *count - 1) }
    };
    layers.iter().map(&mut name).collect()
}

/// A file of Keras 3: variables by number in groups by class; the names are attributes, or nowhere.
fn keras_3(layers: &[Layer], container: &str, with_names: bool) -> Vec<u8> {
    let mut file = FileBuilder::new();
    let mut all = file.create_group(container);
    for ((name, weights), group) in layers.iter().zip(by_class(layers)) {
        let mut group = all.create_group(&group);
        let mut vars = group.create_group("vars");
        if with_names {
            vars.set_attr("name", AttrValue::String(name.replace('/', "_")));
        }
        let numbered: Vec<(String, &Tensor)> =
            weights.iter().enumerate().map(|(number, tensor)| (number.to_string(), tensor)).collect();
        fill(&mut vars, &numbered);
        group.add_group(vars.finish());
        all.add_group(group.finish());
    }
    file.add_group(all.finish());
    let mut optimizer = file.create_group("optimizer");
    let mut vars = optimizer.create_group("vars");
    fill(&mut vars, &[("0".to_owned(), &("step".to_owned(), vec![1], vec![7.0]))]);
    optimizer.add_group(vars.finish());
    file.add_group(optimizer.finish());
    file.finish().unwrap()
}

#[test]
fn keras_3_by_attribute_description_and_order() {
    let layers = in_order();
    same(&Checkpoint::from_bytes(keras_3(&layers, "layers", true)).unwrap());
    // Without names only the order is left. TensorFlow's Keras 2.12 to 2.15 called the container otherwise.
    for container in ["layers", "_layer_checkpoint_dependencies"] {
        let checkpoint = Checkpoint::from_bytes(keras_3(&layers, container, false)).unwrap();
        same(&checkpoint);
        let notes = find(&checkpoint, &Choice::default()).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("taken in the file's order")), "{notes:?}");
    }

    // A description beside the weights names the layers, in any order of classes.
    let described: Vec<serde_json::Value> = layers
        .iter()
        .zip(by_class(&layers))
        .map(|((name, _), group)| {
            let class = match group.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_') {
                "conv2d" | "conv" => "Conv2D",
                "dense" => "Dense",
                "batch_normalization" => "BatchNormalization",
                _ => "DepthwiseConv2D",
            };
            serde_json::json!({"class_name": class, "config": {"name": name.replace('/', "_"), "epsilon": 1e-5}})
        })
        .collect();
    let config_json =
        serde_json::json!({"class_name": "Functional", "config": {"layers": described}}).to_string();
    let archive = torch_files::zip(&[
        ("config.json", config_json.as_bytes()),
        ("model.weights.h5", &keras_3(&layers, "layers", false)),
    ]);
    let checkpoint = Checkpoint::from_bytes(archive).unwrap();
    assert_eq!(checkpoint.format(), Format::KerasZip);
    same(&checkpoint);
    let found = find(&checkpoint, &Choice::default()).unwrap();
    assert!(!found.notes.iter().any(|note| note.contains("order")), "{:?}", found.notes);
    assert_eq!(found.weights.epsilon("stage2/block1/bn_1x1conv_1/gamma:0"), Some(1e-5));
}

/// Keras 2 lists the layers of a model in its order; here they are `conv2d_7` and the like.
#[test]
fn keras_2_by_order() {
    let layers = in_order();
    let renamed: Vec<Layer> = layers
        .iter()
        .zip(by_class(&layers))
        .map(|((_, weights), name)| {
            let weights = weights.iter().map(|(old, shape, values)| {
                (format!("{name}/{}", old.rsplit('/').next().unwrap()), shape.clone(), values.clone())
            });
            (name.clone(), weights.collect())
        })
        .collect();
    same(&keras_2(&renamed, |layer, own| format!("{layer}/{own}"), None));
    // One layer more is another network.
    let mut more = renamed.clone();
    more.insert(
        4,
        ("conv2d_99".into(), vec![("conv2d_99/kernel:0".into(), vec![1, 1, 4, 4], vec![0.0; 16])]),
    );
    let checkpoint = keras_2(&more, |layer, own| format!("{layer}/{own}"), None);
    assert!(find(&checkpoint, &Choice::default()).is_err());
}

fn logits(found: &Found<'_>) -> Vec<f32> {
    let network = Network::new(&found.config, &found.weights, Isa::portable()).unwrap();
    let image: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 13) as f32 / 6.5 - 1.0).collect();
    let mut logits = vec![0.0; found.config.classes];
    network.run(&Serial, Images::nchw(&image, 1, 32, 32), &mut network.workspace(), &mut logits);
    logits
}

#[track_caller]
fn close(a: &[f32], b: &[f32]) {
    let greatest = b.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
    let deviation = a.iter().zip(b).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(a.len() == b.len() && deviation <= 1e-5 * greatest, "{a:?} {b:?}");
}

/// What a model's description says of epsilon goes into the network, and through a conversion.
#[test]
fn epsilon_of_the_description() {
    let layers = layers();
    let described = |epsilon: f64| {
        let norms = layers.iter().filter(|(name, _)| name.contains("/bn_"));
        let norms = norms.map(|(name, _)| {
            let name = name.replace('/', "_");
            serde_json::json!({"class_name": "BatchNormalization", "config": {"name": name, "epsilon": epsilon}})
        });
        serde_json::json!({"config": {"layers": norms.collect::<Vec<_>>()}}).to_string()
    };
    let weight = |layer: &str, own: &str| format!("{layer}/{own}");
    let usual = keras_2(&layers, weight, None);
    let same_number = keras_2(&layers, weight, Some(&described(1e-3)));
    let other = keras_2(&layers, weight, Some(&described(0.1)));
    // As Keras describes a model in a model, and did before 2.2.3.
    let mut inner: serde_json::Value = serde_json::from_str(&described(0.1)).unwrap();
    inner["class_name"] = "Model".into();
    inner["config"]["name"] = "body".into();
    let within = |config| serde_json::json!({"class_name": "Sequential", "config": config}).to_string();
    let nested = keras_2(&layers, weight, Some(&within(serde_json::json!({"layers": [inner]}))));
    let in_list = keras_2(&layers, weight, Some(&within(serde_json::json!([inner]))));
    let garbage = keras_2(&layers, weight, Some("{\"config\": [[[\"epsilon\""));
    let [usual, same_number, found, garbage] = [&usual, &same_number, &other, &garbage]
        .map(|checkpoint| find(checkpoint, &Choice::default()).unwrap());
    assert_eq!(logits(&usual), logits(&same_number));
    assert_eq!(logits(&usual), logits(&garbage));
    assert_ne!(logits(&usual), logits(&found));
    let renamed = |class: &str| described(0.1).replace("BatchNormalization", class);
    let [sync, first] = ["SyncBatchNormalization", "BatchNormalizationV1"]
        .map(|class| keras_2(&layers, weight, Some(&renamed(class))));
    for checkpoint in [nested, in_list, sync, first] {
        assert_eq!(logits(&find(&checkpoint, &Choice::default()).unwrap()), logits(&found));
    }

    for epsilon in ["-0.001", "1e300", "\"small\"", "null"] {
        let file = keras_2_file(&layers, weight, Some(&described(0.1).replace("0.1", epsilon)));
        let error = Checkpoint::from_bytes(file).expect_err(epsilon).to_string();
        assert!(error.contains("an epsilon of") && !error.contains('\n'), "{error}");
    }

    // An epsilon of 0.1 is one of 0.001 with variances that are larger by 0.099.
    struct Larger(Vec<Tensor>);
    impl Weights for Larger {
        fn names(&self) -> Vec<String> {
            self.0.iter().map(|(name, ..)| name.clone()).collect()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.iter().find(|tensor| tensor.0 == name).map(|tensor| tensor.1.clone())
        }
        fn read(&self, name: &str) -> Result<Vec<f32>, model::weights::WeightsError> {
            let values = &self.0.iter().find(|tensor| tensor.0 == name).unwrap().2;
            let more = if name.contains("moving_variance") { 0.1 - 1e-3 } else { 0.0 };
            Ok(values.iter().map(|value| value + more).collect())
        }
    }
    let larger = Larger(tensors());
    close(&logits(&found), &logits(&find(&larger, &Choice::default()).unwrap()));

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("epsilon_of_the_description.safetensors");
    convert(&other, found.weights.stored(), &path).unwrap();
    let converted = Checkpoint::open(&path).unwrap();
    assert_eq!(logits(&find(&converted, &Choice::default()).unwrap()), logits(&found));
    std::fs::remove_file(path).unwrap();
}

/// Keras's convolutions have biases anyway; a file without any normalisation had it folded.
#[test]
fn folded_batch_normalisation() {
    let mut plain = tensors();
    for (name, _, values) in &mut plain {
        // A normalisation that changes nothing, if its epsilon were zero.
        let value = match name.rsplit('/').next().unwrap() {
            "gamma:0" => 1.0,
            "moving_variance:0" => 1.0 - 1e-3,
            "beta:0" | "moving_mean:0" => 0.0,
            _ => continue,
        };
        values.fill(value);
    }
    let by_layer = |keep: &dyn Fn(&str) -> bool| -> Vec<Layer> {
        let weights = |layer: &str| -> Vec<Tensor> {
            let of_layer = |name: &str| name.rsplit_once('/').is_some_and(|(scope, _)| scope == layer);
            plain.iter().filter(|tensor| of_layer(&tensor.0)).cloned().collect()
        };
        layers()
            .iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, _)| (name.clone(), weights(name)))
            .collect()
    };
    let weight = |layer: &str, own: &str| format!("{layer}/{own}");
    let whole = keras_2(&by_layer(&|_| true), weight, None);
    let folded = keras_2(&by_layer(&|name| !name.contains("/bn_")), weight, None);
    let expected = logits(&find(&whole, &Choice::default()).unwrap());
    close(&logits(&find(&folded, &Choice::default()).unwrap()), &expected);
    // Where only some are gone, the file is damaged.
    let some = keras_2(&by_layer(&|name| name != "stage2/block1/bn_3x3dwconv"), weight, None);
    let error = find(&some, &Choice::default()).unwrap_err().to_string();
    assert!(
        error.contains("\"stage2/block1/bn_3x3dwconv/moving_mean:0\" of shape [4] is missing"),
        "{error}"
    );
}

/// A network that Keras 3.15 itself saved, and what it said (recorded/make_fixtures.py).
#[test]
fn a_network_of_keras_3() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/weights/keras3_unnamed.keras");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let found = find(&checkpoint, &Choice::default()).unwrap();
    assert_eq!(found.config, Config { stage_repeats: [2, 2, 2], ..config() });
    close(&logits(&found), &[1.327_618_8, -1.902_698_3, 1.944_807]);
}
