//! A ShuffleNetV2 from a file.

use crate::arrays::{output, sides, slice, slice_mut, write};
use crate::failure::{self, Unread, invalid};
use crate::threads::Threads;
use kernels::{Isa, Parallel, Serial};
use model::photo::{Picture, Recipe};
use model::weights::Checkpoint;
use model::{Choice, Images, Layout, Workspace, find, labels};
use numpy::{Ix2, PyArray2, PyReadonlyArray4};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use rayon::prelude::*;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A ShuffleNetV2 with its weights packed, shared by all Python threads that call it.
#[pyclass(frozen, module = "shufflenet._native")]
pub(crate) struct Network {
    network: model::Network,
    recipe: Recipe,
    threads: Threads,
    /// One for each call that was ever in progress at the same time; a call takes one and brings it back.
    workspaces: Mutex<Vec<Workspace>>,
    remarks: Vec<String>,
}

/// Names of the 1000 classes of ImageNet.
#[pyfunction]
pub(crate) fn imagenet() -> Vec<&'static str> {
    labels::imagenet()
}

/// Names of `classes` classes from a file.
#[pyfunction]
#[pyo3(name = "labels")]
pub(crate) fn labels_of(path: PathBuf, classes: usize) -> PyResult<Vec<String>> {
    there(&path).map_err(Unread::raise)?;
    labels::load(&path, classes).map_err(|e| Unread::content(e).raise())
}

/// Photos that are handed over between two looks at Ctrl-C, per thread.
const BETWEEN_SIGNALS: usize = 16;

/// A photo: a file, or what is in one.
#[derive(FromPyObject)]
enum Photo {
    Bytes(PyBackedBytes),
    Path(PathBuf),
}

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (path, *, width, wiring, key, ema, threads, isa))]
    #[expect(clippy::too_many_arguments, reason = "the options of `shufflenet.load`")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        width: Option<&str>,
        wiring: Option<&str>,
        key: Option<String>,
        ema: bool,
        threads: i64,
        isa: Option<&str>,
    ) -> PyResult<Self> {
        let count = usize::try_from(threads).ok().filter(|count| (1..=1024).contains(count));
        let count = count.ok_or_else(|| {
            invalid(format!("threads: expected a whole number from 1 to 1024, found {threads}"))
        })?;
        let isa = failure::isa(isa)?;
        let choice = Choice { key, ema };
        let loaded = py.detach(|| load(&path, &choice, isa));
        let (network, remarks) = loaded.map_err(|error| failure::checkpoint(&path, &error))?;
        let (config, path) = (network.config(), path.display());
        if let Some(asked) = wiring
            && asked != config.wiring.name()
        {
            return Err(invalid(format!("{path}: expected wiring {asked}, found {config}")));
        }
        if let Some(asked) = width
            && config.width() != Some(asked)
        {
            return Err(invalid(format!("{path}: expected width {asked}, found {config}")));
        }
        let recipe = Recipe::of(config);
        Ok(Self { network, recipe, threads: Threads::new(count), workspaces: Mutex::default(), remarks })
    }

    /// What whoever loads the file should know, a line each.
    #[getter]
    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    /// One line about the network.
    #[getter]
    fn description(&self) -> String {
        self.network.config().to_string()
    }

    /// Classes; 0 where the network ends in features.
    #[getter]
    fn classes(&self) -> usize {
        self.network.config().classes
    }

    /// Numbers per image.
    #[getter]
    fn outputs(&self) -> usize {
        self.network.config().outputs()
    }

    /// The side of the square that photos are brought to.
    #[getter]
    fn crop(&self) -> usize {
        self.recipe.crop
    }

    #[getter]
    fn isa(&self) -> &'static str {
        self.network.isa().name()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.threads.count()
    }

    /// What the network is.
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let config = self.network.config();
        let dict = PyDict::new(py);
        dict.set_item("wiring", config.wiring.name())?;
        dict.set_item("width", config.width().and_then(|width| width.parse::<f64>().ok()))?;
        dict.set_item("stage_repeats", config.stage_repeats.to_vec())?;
        dict.set_item("stage_channels", config.stage_channels.to_vec())?;
        dict.set_item("bottleneck_ratio", config.bottleneck_ratio)?;
        dict.set_item("classes", config.classes)?;
        Ok(dict)
    }

    /// What each layer costs for an image of `h` x `w`.
    fn layers<'py>(&self, py: Python<'py>, h: usize, w: usize) -> PyResult<Vec<Bound<'py, PyDict>>> {
        check_sides(h, w)?;
        let costs = self.network.program().costs(h, w).map_err(invalid)?;
        let layers = self.network.layers().iter().zip(&costs);
        layers
            .map(|(layer, cost)| {
                let dict = PyDict::new(py);
                dict.set_item("name", &layer.name)?;
                dict.set_item("kind", layer.class.name())?;
                dict.set_item("input", (cost.input[0], cost.input[1], cost.input[2]))?;
                dict.set_item("output", (cost.output[0], cost.output[1], cost.output[2]))?;
                dict.set_item("params", cost.params)?;
                dict.set_item("macs", cost.macs)?;
                dict.set_item("mac_bytes", cost.mac_bytes)?;
                Ok(dict)
            })
            .collect()
    }

    /// Seconds of each layer for an image of `h` x `w`: the mean of the fastest tenth of the runs within `seconds`.
    fn profile(&self, py: Python<'_>, h: usize, w: usize, seconds: f64) -> PyResult<Vec<f64>> {
        check_sides(h, w)?;
        let budget = Duration::try_from_secs_f64(seconds).ok().filter(|budget| budget.as_secs() <= 3600);
        let budget = budget.ok_or_else(|| invalid("seconds: expected a number from 0 to 3600"))?;
        py.detach(|| self.on_threads(|parallel| self.fastest_tenth(parallel, h, w, budget)))
    }

    /// The network's numbers for preprocessed images, as they are.
    #[pyo3(signature = (images, *, nhwc, probabilities))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray4<'py, f32>,
        nhwc: bool,
        probabilities: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (n, shape) = sides(&images);
        let (c, h, w) = if nhwc { (shape.w, shape.c, shape.h) } else { (shape.c, shape.h, shape.w) };
        if c != 3 {
            return Err(invalid(format!("images: expected 3 channels, found {c}")));
        }
        check_sides(h, w)?;
        let data = slice("images", &images)?;
        let layout = if nhwc { Layout::Nhwc } else { Layout::Nchw };
        let made = output(py, Ix2(n, self.outputs()), None)?;
        let mut logits = write(&made)?;
        let logits = slice_mut(&mut logits)?;
        if n > 0 {
            py.detach(|| {
                self.on_threads(|parallel| {
                    let images = Images { data, n, h, w, layout };
                    self.network.run(parallel, images, &mut self.workspace(), logits);
                    if probabilities {
                        logits.chunks_exact_mut(self.outputs()).for_each(model::probabilities);
                    }
                })
            })?;
        }
        Ok(made)
    }

    /// The network's numbers for photos in memory, RGB, each as the network's authors prepared theirs; unless `resize`,
    /// of the size that they have.
    #[pyo3(signature = (images, *, resize, probabilities))]
    fn pixels<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray4<'py, u8>,
        resize: bool,
        probabilities: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        // Rows, columns and channels.
        let (n, shape) = sides(&images);
        let (h, w) = (shape.c, shape.h);
        if shape.w != 3 || h == 0 || w == 0 {
            return Err(invalid(format!("images: expected red, green and blue, found {h}x{w}x{}", shape.w)));
        }
        if !resize {
            check_sides(h, w)?;
        }
        let pixels = slice("images", &images)?;
        let made = output(py, Ix2(n, self.outputs()), None)?;
        let mut logits = write(&made)?;
        let logits = slice_mut(&mut logits)?;
        self.each(py, logits, probabilities, true, &|index| {
            let pixels = &pixels[index * 3 * h * w..][..3 * h * w];
            if !resize {
                return Ok((self.recipe.normalise(pixels), h, w));
            }
            let picture = Picture::from_rgb(w, h, pixels.to_vec()).map_err(Unread::content)?;
            Ok((self.recipe.apply(&picture), self.recipe.crop, self.recipe.crop))
        })?;
        Ok(made)
    }

    /// The network's numbers for photos in files, NaN where there are none; and for each photo, why. Where `strict`, the
    /// first such photo is an exception.
    #[pyo3(signature = (photos, *, probabilities, strict))]
    fn photos<'py>(
        &self,
        py: Python<'py>,
        photos: Vec<Photo>,
        probabilities: bool,
        strict: bool,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, Sentences)> {
        let made = output(py, Ix2(photos.len(), self.outputs()), None)?;
        let mut logits = write(&made)?;
        let logits = slice_mut(&mut logits)?;
        let unread = self.each(py, logits, probabilities, strict, &|index| {
            let picture = match &photos[index] {
                Photo::Path(path) => open(path)?,
                Photo::Bytes(bytes) => {
                    Picture::decode(bytes).map_err(|e| Unread::content(format!("photo {index}: {e}")))?
                }
            };
            Ok((self.recipe.apply(&picture), self.recipe.crop, self.recipe.crop))
        })?;
        Ok((made, unread))
    }
}

/// For each photo, why there is no answer, if there is none.
type Sentences = Vec<Option<String>>;

/// The planes of an image, its height and its width.
type Prepared = (Vec<f32>, usize, usize);

impl Network {
    /// Runs the images that `prepare` makes, each into its row of `logits`; returns why there is none.
    ///
    /// Where there are enough of them, each thread prepares and runs images of its own: the memory that takes does not
    /// depend on how many there are.
    fn each(
        &self,
        py: Python<'_>,
        logits: &mut [f32],
        probabilities: bool,
        strict: bool,
        prepare: &(dyn Fn(usize) -> Result<Prepared, Unread> + Sync),
    ) -> PyResult<Sentences> {
        let (outputs, threads) = (self.outputs(), self.threads.count());
        let step = BETWEEN_SIGNALS * threads;
        let one = |index: usize, logits: &mut [f32], parallel: &dyn Parallel| match prepare(index) {
            Ok((input, h, w)) => {
                self.network.run(parallel, Images::nchw(&input, 1, h, w), &mut self.workspace(), logits);
                if probabilities {
                    model::probabilities(logits);
                }
                None
            }
            Err(unread) => {
                logits.fill(f32::NAN);
                Some(unread)
            }
        };
        let mut sentences = Vec::with_capacity(logits.len() / outputs);
        for logits in logits.chunks_mut(step * outputs) {
            py.check_signals()?;
            let first = sentences.len();
            let unread: Vec<Option<Unread>> = py.detach(|| {
                self.on_threads(|parallel| {
                    if threads == 1 || logits.len() / outputs < threads {
                        let rows = logits.chunks_exact_mut(outputs).enumerate();
                        return rows.map(|(row, logits)| one(first + row, logits, parallel)).collect();
                    }
                    let rows = logits.par_chunks_exact_mut(outputs).enumerate().with_max_len(1);
                    rows.map(|(row, logits)| one(first + row, logits, &Serial)).collect()
                })
            })?;
            for unread in unread {
                match unread {
                    Some(unread) if strict => return Err(unread.raise()),
                    unread => sentences.push(unread.map(|unread| unread.sentence)),
                }
            }
        }
        Ok(sentences)
    }

    /// The mean time of each layer over the fastest tenth of the runs.
    fn fastest_tenth(&self, parallel: &dyn Parallel, h: usize, w: usize, budget: Duration) -> Vec<f64> {
        // Zeros could be faster than photos.
        let image: Vec<f32> = (0..3 * h * w).map(|i| (i * 7919 % 1021) as f32 / 255.0 - 2.0).collect();
        let images = Images::nchw(&image, 1, h, w);
        let mut workspace = self.workspace();
        let mut runs: Vec<Vec<f64>> = Vec::new();
        let begin = Instant::now();
        while runs.len() < 11 || begin.elapsed() < budget {
            let mut layers = vec![0.0; self.network.layers().len()];
            let mut before = Instant::now();
            self.network.observe(parallel, images, &mut workspace, &mut |layer| {
                let now = Instant::now();
                layers[layer] += (now - before).as_secs_f64();
                before = now;
            });
            runs.push(layers);
        }
        // The first has made the workspace grow.
        runs.remove(0);
        let sum = |layers: &Vec<f64>| layers.iter().sum::<f64>();
        runs.sort_by(|a, b| sum(a).total_cmp(&sum(b)));
        runs.truncate(runs.len().div_ceil(10));
        let mean = |layer: usize| runs.iter().map(|run| run[layer]).sum::<f64>() / runs.len() as f64;
        (0..self.network.layers().len()).map(mean).collect()
    }

    fn on_threads<T: Send>(&self, work: impl FnOnce(&dyn Parallel) -> T + Send) -> PyResult<T> {
        self.threads.run(work).map_err(PyRuntimeError::new_err)
    }

    /// A workspace that no other call has.
    fn workspace(&self) -> Lent<'_> {
        let kept = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lent { workspace: Some(kept.unwrap_or_else(|| self.network.workspace())), owner: &self.workspaces }
    }
}

/// A workspace that goes back when its call ends.
struct Lent<'a> {
    workspace: Option<Workspace>,
    owner: &'a Mutex<Vec<Workspace>>,
}

impl Deref for Lent<'_> {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        self.workspace.as_ref().expect("there until the end")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Workspace {
        self.workspace.as_mut().expect("there until the end")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).extend(self.workspace.take());
    }
}

/// The network that the file holds, and what there is to know of the file.
fn load(path: &Path, choice: &Choice, isa: Isa) -> Result<(model::Network, Vec<String>), model::Error> {
    let checkpoint = Checkpoint::open(path)?;
    let found = find(&checkpoint, choice)?;
    let network = model::Network::new(&found.config, &found.weights, isa)?;
    let mut remarks = checkpoint.warnings().to_vec();
    if !found.others.is_empty() {
        let others: Vec<String> = found.others.iter().map(|key| format!("{key:?}")).collect();
        remarks.push(format!("took {:?}; {} would fit, too (key chooses)", found.key, others.join(", ")));
    }
    remarks.extend(found.notes.iter().cloned());
    let broken = checkpoint.non_finite();
    if let Some(first) = broken.first() {
        remarks.push(format!("NaN or infinity in {} tensors, the first of them {first:?}", broken.len()));
    }
    let remarks = remarks.into_iter().map(|remark| format!("{}: {remark}", path.display())).collect();
    Ok((network, remarks))
}

/// A photo in a file.
fn open(path: &Path) -> Result<Picture, Unread> {
    there(path)?;
    Picture::open(path).map_err(Unread::content)
}

/// What the file system says is told apart from what is wrong with the file.
fn there(path: &Path) -> Result<(), Unread> {
    std::fs::metadata(path).map(drop).map_err(|error| Unread::file(path, &error))
}

fn check_sides(h: usize, w: usize) -> PyResult<()> {
    let least = Images::MIN_SIDE;
    match h.min(w) >= least {
        true => Ok(()),
        false => Err(invalid(format!("expected a height and width of at least {least}, found {h} and {w}"))),
    }
}
