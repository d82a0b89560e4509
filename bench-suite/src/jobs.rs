//! Checked work for the benches of `criterion`.

use std::iter;

use kernels::{Isa, Serial};
use model::graph::Class;

use crate::run::check::Ready;
use crate::work::{Work, guidelines, networks, sweeps};

/// One image through one piece of work, on this thread.
pub struct Job {
    /// The bench's group.
    pub group: String,
    /// Its name within the group.
    pub id: String,
    /// Floating-point operations of a run, two per multiply-add.
    pub flop: u64,
    ready: Ready,
}

impl Job {
    fn new(group: &str, id: String, work: &Work, isa: Isa) -> Self {
        let ready = Ready::new(id.clone(), work.clone(), isa, false).unwrap_or_else(|e| panic!("{e}"));
        Self { group: group.to_owned(), id, flop: 2 * work.cost().macs, ready }
    }

    /// What to time.
    pub fn run(&self) -> impl FnMut() {
        let mut runner = self.ready.runner();
        move || runner.run(&Serial)
    }
}

/// The guidelines at the paper's channels x1, on one instruction set.
pub fn guidelines(isa: Isa) -> impl Iterator<Item = Job> {
    guidelines::all().into_iter().flat_map(move |experiment| {
        let columns: Vec<_> =
            experiment.columns.iter().filter(|c| !c.id.ends_with("x2") && !c.id.ends_with("x4")).collect();
        let cases = columns.iter().flat_map(|column| column.cases.iter().map(move |case| (column, case)));
        let job = |(column, case): (&&guidelines::Column, &guidelines::Case)| {
            Job::new(&experiment.id, format!("{}/{}", column.id, case.id), &case.work, isa)
        };
        cases.map(job).collect::<Vec<_>>()
    })
}

/// The networks of the paper's figure 1, on every instruction set.
pub fn networks() -> impl Iterator<Item = Job> {
    on_every_isa(networks::all().into_iter().map(|network| ("networks", network.id, network.work)))
}

/// The distinct layers of all ShuffleNetV2s, by operator, on every instruction set.
pub fn layers() -> impl Iterator<Item = Job> {
    on_every_isa(sweeps::layers().into_iter().map(|layer| {
        let group = match layer.class() {
            Class::Pointwise => "pointwise",
            Class::Depthwise => "depthwise",
            Class::Linear => "linear",
            _ => "convolution",
        };
        (group, layer.id(), layer.work())
    }))
}

fn on_every_isa(works: impl Iterator<Item = (&'static str, String, Work)>) -> impl Iterator<Item = Job> {
    works.flat_map(|(group, id, work)| {
        let alike = iter::repeat((group, id, work));
        alike
            .zip(Isa::available())
            .map(|((group, id, work), isa)| Job::new(group, format!("{id}/{isa}"), &work, isa))
    })
}
