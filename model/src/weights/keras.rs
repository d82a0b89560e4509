//! What Keras writes about a model beside its weights: the names of layers, and their batch normalisations' epsilon.

use super::error::quoted;
use serde_json::Value;
use std::collections::HashMap;

/// How deep a description may nest; `serde_json` itself stops at 128.
const MAX_DEPTH: usize = 64;

/// The layers that a `model_config` or `config.json` describes.
#[derive(Default)]
pub(super) struct Layers {
    /// Names by the path of the layer's group in a file of Keras 3, which counts classes:
    /// `layers/conv2d_1`, `layers/functional/layers/dense`.
    names: HashMap<String, String>,
    /// By layer.
    epsilons: HashMap<String, f32>,
}

impl Layers {
    /// Understands a description, as far as it goes; one that is none describes nothing. An error where it gives an
    /// epsilon that cannot be.
    pub(super) fn parse(config: Option<&str>) -> Result<Self, String> {
        let mut layers = Self::default();
        if let Some(model) = config.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            layers.model(&model, "", 0)?;
        }
        Ok(layers)
    }

    /// The name of the layer whose group in a file of Keras 3 has that path.
    pub(super) fn name(&self, path: &str) -> Option<&str> {
        self.names.get(path).map(String::as_str)
    }

    /// What every batch normalisation adds to its variance, by layer.
    pub(super) fn epsilons(self) -> HashMap<String, f32> {
        self.epsilons
    }

    fn model(&mut self, model: &Value, path: &str, depth: usize) -> Result<(), String> {
        // `Sequential` was, until Keras 2.2.3, described by its layers alone.
        let config = &model["config"];
        let Some(layers) = config.as_array().or(config["layers"].as_array()) else { return Ok(()) };
        let mut counted: HashMap<String, usize> = HashMap::new();
        for layer in layers {
            let config = &layer["config"];
            let (Some(class), Some(name)) =
                (layer["class_name"].as_str(), config["name"].as_str().or(layer["name"].as_str()))
            else {
                continue;
            };
            let class = snake_case(class);
            let count = counted.entry(class.clone()).or_default();
            let number = if *count == 0 { String::new() } else { format!("_{count}") };
            *count += 1;
            let path = if path.is_empty() { String::new() } else { format!("{path}/") };
            let path = format!("{path}layers/{class}{number}");
            // There were others of a number behind it, or a package before it.
            if class.contains("batch_normalization")
                && let Some(epsilon) = config.get("epsilon")
            {
                let number = epsilon.as_f64().map(|epsilon| epsilon as f32);
                let number = number.filter(|epsilon| *epsilon >= 0.0 && epsilon.is_finite());
                let bad =
                    || format!("layer {}: an epsilon of {}", quoted(name), quoted(&epsilon.to_string()));
                self.epsilons.insert(name.to_owned(), number.ok_or_else(bad)?);
            }
            if depth < MAX_DEPTH {
                self.model(layer, &path, depth + 1)?;
            }
            self.names.insert(path, name.to_owned());
        }
        Ok(())
    }
}

/// `DepthwiseConv2D` as `depthwise_conv2d`.
fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class.chars().take(256).collect();
    let mut name = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let follows_small = at > 0 && chars[at - 1].is_ascii_lowercase();
        let before_small = at > 0 && chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (follows_small || before_small) {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}
