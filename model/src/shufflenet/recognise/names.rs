//! What names of tensors have in common, whoever wrapped the network and whichever framework saved it.

use crate::shufflenet::wiring::Wiring;

/// What wrappers put into names, at the front or in the middle: `DataParallel` and its kin, `torch.compile`, sharding,
/// activation checkpoints.
const WRAPPERS: [&str; 5] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];

/// What Keras calls the variables of a layer.
const VARIABLES: [&str; 6] = ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"];

/// The name in a form that does not depend on the framework or on wrappers: parts joined by dots.
///
/// `module.conv1.0.weight` and `conv1._orig_mod.0.weight` become `conv1.0.weight`; `fc/kernel:0`, `fc/kernel_1:0` and
/// `fc/kernel` become `fc.kernel`; `stage2_block1_1x1conv_1/kernel` becomes `stage2.block1.1x1conv_1.kernel`.
pub(super) fn simplify(name: &str) -> String {
    let mut simple = String::with_capacity(name.len());
    let mut push = |part: &str| {
        if !simple.is_empty() {
            simple.push('.');
        }
        simple.push_str(part);
    };
    let mut parts = name.split(['.', '/']).filter(|part| !WRAPPERS.contains(part)).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            push(variable(part));
        } else if let Some((stage, block, layer)) = layer_of_block(part) {
            push(stage);
            push(block);
            push(layer);
        } else {
            push(part);
        }
    }
    simple
}

/// A last part without TensorFlow's numbers.
fn variable(part: &str) -> &str {
    let part = without_number(part, ':').unwrap_or(part);
    let part = without_number(part, '_').filter(|base| VARIABLES.contains(&plain(base))).unwrap_or(part);
    plain(part)
}

/// Keras 2 calls the kernel of a depthwise convolution otherwise than Keras 3.
fn plain(variable: &str) -> &str {
    if variable == "depthwise_kernel" { "kernel" } else { variable }
}

/// What comes before a number at the end, if there is one behind `separator`.
pub(super) fn without_number(part: &str, separator: char) -> Option<&str> {
    part.rsplit_once(separator).filter(|(_, number)| is_number(number)).map(|(base, _)| base)
}

/// `stage2_block1_1x1conv_1`: Keras 3 allows no slash in the name of a layer.
fn layer_of_block(part: &str) -> Option<(&str, &str, &str)> {
    let rest = part.strip_prefix("stage")?;
    let (stage, rest) = rest.split_once(['_', '-'])?;
    let (block, layer) = rest.strip_prefix("block")?.split_once(['_', '-'])?;
    if !is_number(stage) || !is_number(block) || layer.is_empty() {
        return None;
    }
    let block_at = "stage".len() + stage.len() + 1;
    Some((
        &part[.."stage".len() + stage.len()],
        &part[block_at..block_at + "block".len() + block.len()],
        layer,
    ))
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where in a simplified name a network's own name may begin, and whose it would be. The head is left out: its name is
/// anybody's.
pub(super) fn roots(simple: &str) -> impl Iterator<Item = (Wiring, usize)> {
    let starts = std::iter::once(0).chain(simple.match_indices('.').map(|(at, _)| at + 1));
    starts.filter_map(|at| Some((root(&simple[at..])?, at)))
}

/// Whose name this is, if it is that of a tensor in a body.
pub(super) fn root(simple: &str) -> Option<Wiring> {
    let mut parts = simple.split('.');
    let (first, second) = (parts.next()?, parts.next()?);
    let numbered = |part: &str, word: &str| part.strip_prefix(word).is_some_and(is_number);
    match first {
        "conv1" | "conv5" | "stage2" | "stage3" | "stage4" if is_number(second) => Some(Wiring::Torchvision),
        "first_conv" | "conv_last" | "features" if is_number(second) => Some(Wiring::Megvii),
        stage if numbered(stage, "stage") && numbered(second, "block") => Some(Wiring::Keras),
        conv => {
            let conv = without_number(conv, '_').unwrap_or(conv);
            let keras = ["conv1", "1x1conv5_out"].contains(&conv) && VARIABLES.contains(&second);
            keras.then_some(Wiring::Keras)
        }
    }
}

/// What comes before the last part.
pub(super) fn parent(simple: &str) -> &str {
    simple.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The last part.
pub(super) fn last(simple: &str) -> &str {
    simple.rsplit('.').next().unwrap_or(simple)
}

/// What of a simplified name comes behind a prefix of whole parts.
pub(super) fn below<'a>(simple: &'a str, prefix: &str) -> Option<&'a str> {
    match prefix {
        "" => Some(simple),
        _ => simple.strip_prefix(prefix)?.strip_prefix('.'),
    }
}

/// Both, joined.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}
