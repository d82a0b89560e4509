//! Whole networks against what PyTorch and Keras computed for the same weights in float64 (truth/record.py), on every
//! instruction set: logits within 5e-6 of the greatest.

mod truth_formula;

use kernels::{Isa, Serial};
use model::weights::WeightsError;
use model::{Images, Network, Weights};
use truth_formula::{Case, Tensor, cases, tensors};

/// The formula's tensors as a checkpoint.
struct Formula(Vec<Tensor>);

impl Weights for Formula {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|tensor| tensor.name.clone()).collect()
    }
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.shape.clone())
    }
    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let found = self.0.iter().find(|tensor| tensor.name == name);
        found.map(|tensor| tensor.data.clone()).ok_or_else(|| WeightsError::NoSuchTensor(name.to_owned()))
    }
}

/// Runs `case` and returns the greatest deviation of a recorded logit, in units of the greatest logit.
fn deviation(case: Case, network: &Network) -> f64 {
    let classes = case.classes();
    let input = case.input();
    let mut logits = vec![0.0; case.batch * classes];
    let images = Images::nchw(&input, case.batch, case.ih, case.iw);
    network.run(&Serial, images, &mut network.workspace(), &mut logits);
    let mut greatest = 0.0f64;
    let mut worst = 0.0f64;
    for (logits, truth) in logits.chunks(classes).zip(case.logits()) {
        for (class, truth) in case.kept().zip(truth) {
            greatest = greatest.max(truth.abs());
            worst = worst.max((f64::from(logits[class]) - truth).abs());
        }
    }
    worst / greatest
}

#[test]
fn logits_are_those_of_pytorch_and_keras() {
    let mut tested = 0;
    for wiring in truth_formula::WIRINGS {
        for network in ["0.5", "1.0", "1.5", "2.0", "custom"] {
            let weights = Formula(tensors(wiring, network));
            for isa in Isa::available() {
                let built = Network::load(&weights, isa).expect("the formula's tensors are a network");
                assert_eq!(built.config().wiring.name(), wiring);
                assert_eq!(built.config().width().unwrap_or("custom"), network);
                for case in
                    cases().into_iter().filter(|case| case.wiring == wiring && case.network == network)
                {
                    let deviation = deviation(case, &built);
                    println!("{case:?} {isa}: {deviation:.1e}");
                    assert!(deviation <= 5e-6, "{case:?} on {isa}: {deviation:.2e} of the greatest logit");
                    tested += 1;
                }
            }
        }
    }
    assert_eq!(tested, 42 * Isa::available().count());
}

#[test]
fn bits_do_not_depend_on_threads_or_place_in_the_batch() {
    for wiring in truth_formula::WIRINGS {
        let case = cases().into_iter().find(|case| case.wiring == wiring && case.batch == 5).expect("a case");
        let network = Network::load(&Formula(tensors(wiring, case.network)), Isa::best()).expect("a network");
        let (input, classes) = (case.input(), case.classes());
        let run = |parallel: &dyn kernels::Parallel, images: Images<'_>| {
            let mut logits = vec![0.0; images.n * classes];
            network.run(parallel, images, &mut network.workspace(), &mut logits);
            logits.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one_by_one: Vec<u32> = input
            .chunks(3 * case.ih * case.iw)
            .flat_map(|image| run(&Serial, Images::nchw(image, 1, case.ih, case.iw)))
            .collect();
        let batch = Images::nchw(&input, case.batch, case.ih, case.iw);
        assert!(run(&Serial, batch) == one_by_one, "{wiring}: place in the batch");
        #[cfg(not(target_family = "wasm"))]
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            assert!(
                pool.install(|| run(&kernels::Rayon, batch)) == one_by_one,
                "{wiring}: {threads} threads"
            );
            let first = Images::nchw(&input[..3 * case.ih * case.iw], 1, case.ih, case.iw);
            assert!(
                pool.install(|| run(&kernels::Rayon, first)) == one_by_one[..classes],
                "{wiring}: {threads} threads"
            );
        }
    }
}
