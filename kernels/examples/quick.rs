use kernels::*;
use std::time::Instant;
fn main() {
    let isas: Vec<Isa> = std::env::args().skip(1).map(|a| Isa::from_name(&a).unwrap()).collect();
    for isa in isas {
        let peak = std::cell::Cell::new(0.0f64);
        let run = |f: &mut dyn FnMut()| -> f64 {
            let mut best = f64::MAX;
            for _ in 0..60 {
                let t = Instant::now();
                let fl = isa.fma_burst(20000);
                peak.set(peak.get().max(fl as f64 / t.elapsed().as_secs_f64() / 1e9));
                for _ in 0..5 {
                    let t = Instant::now();
                    f();
                    best = best.min(t.elapsed().as_secs_f64());
                }
            }
            best
        };
        for (ic, oc, hw) in [
            (24, 58, 56),
            (58, 58, 28),
            (116, 116, 14),
            (232, 232, 7),
            (464, 1024, 7),
            (122, 122, 28),
            (244, 244, 14),
            (488, 488, 7),
            (24, 24, 56),
            (48, 48, 14),
            (96, 96, 7),
            (176, 176, 14),
        ] {
            let w: Vec<f32> = (0..ic * oc).map(|i| (i % 7) as f32 * 0.01).collect();
            let op = Pointwise::builder(ic, oc).activation(Activation::Relu).isa(isa).build(&w).unwrap();
            let src = Tensor::zeros(Shape::new(ic, hw, hw));
            let mut dst = Tensor::zeros(Shape::new(oc, hw, hw));
            let t = run(&mut || op.run(src.view(), dst.view_mut()));
            let fl = 2.0 * (ic * oc * hw * hw) as f64;
            let padded = fl * oc.next_multiple_of(isa.lanes()) as f64 / oc as f64;
            println!("{isa} pw {ic}->{oc} @{hw}: {:.1} us {:.1} GF/s", t * 1e6, fl / t / 1e9);
            println!(
                "      {:.1} % useful, {:.1} % padded of {:.1}",
                fl / t / 1e7 / peak.get(),
                padded / t / 1e7 / peak.get(),
                peak.get()
            );
        }
        for (c, hw, s) in [(58, 56, 2), (58, 28, 1), (116, 14, 1), (232, 7, 1), (24, 56, 2), (116, 28, 2)] {
            let op = Depthwise::builder(c, 3, s).isa(isa).build(&vec![0.1; c * 9]).unwrap();
            let src = Tensor::zeros(Shape::new(c, hw, hw));
            let mut dst = Tensor::zeros(op.output_shape(hw, hw));
            let t = run(&mut || op.run(src.view(), dst.view_mut()));
            let outs = dst.shape().blocks() * dst.shape().pixels();
            println!(
                "{isa} dw {c} @{hw} s{s}: {:.1} us, {:.2} ns per 16 outputs",
                t * 1e6,
                t * 1e9 / outs as f64
            );
        }
        let op = Convolution::builder(3, 24, 3, 2)
            .isa(isa)
            .activation(Activation::Relu)
            .build(&vec![0.1; 648])
            .unwrap();
        let img = vec![0.5; 3 * 224 * 224];
        let mut dst = Tensor::zeros(op.output_shape(224, 224));
        let t = run(&mut || op.run_planar(&img, 224, 224, dst.view_mut()));
        println!("{isa} stem {:.1} us, {:.1} GF/s", t * 1e6, 2.0 * 27.0 * 24.0 * 112.0 * 112.0 / t / 1e9);
        let pool = MaxPool::new(3, 2, Padding::all(1), isa).unwrap();
        let mut out = Tensor::zeros(pool.output_shape(dst.shape()));
        let t = run(&mut || pool.run(dst.view(), out.view_mut()));
        println!("{isa} pool {:.1} us", t * 1e6);
        let fc = Linear::new(1024, 1000, &vec![0.1; 1024000], None, Activation::None, isa).unwrap();
        let x = vec![1.0; 1024];
        let mut y = vec![0.0; 1000];
        let t = run(&mut || fc.run(&x, &mut y));
        println!("{isa} fc {:.1} us, peak {:.1}", t * 1e6, peak.get());
    }
}
