//! The command as a user meets it: exit status, messages, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-suite"));
    command.args(args).env_remove("KERNELS_ISA").output().unwrap()
}

/// Exit status, standard output, standard error.
fn ran(args: &[&str]) -> (i32, String, String) {
    let output = run(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn save(report: &Value, path: &Path) -> String {
    fs::write(path, report.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A report of the first version, whose samples differ by no more than a thousandth.
fn report() -> Value {
    let mut report: Value = serde_json::from_str(include_str!("report-1.json")).unwrap();
    for m in report["measurements"].as_array_mut().unwrap() {
        let least = m["seconds"][0].as_f64().unwrap();
        m["seconds"] = (0..20).map(|i| least * (1.0 + 0.0001 * f64::from(i))).collect();
    }
    report
}

/// The report with some measurements' samples multiplied.
fn scaled(report: &Value, prefix: &str, factor: f64) -> Value {
    let mut report = report.clone();
    for m in report["measurements"].as_array_mut().unwrap() {
        if m["id"].as_str().unwrap().starts_with(prefix) {
            let seconds: Vec<f64> = serde_json::from_value(m["seconds"].take()).unwrap();
            m["seconds"] = seconds.iter().map(|s| s * factor).collect();
        }
    }
    report
}

#[test]
fn comparing_finds_what_changed_and_nothing_else() {
    let dir = dir("compare");
    let report = report();
    let old = save(&report, &dir.join("old.json"));
    let slower = save(&scaled(&report, "model/1.0", 1.2), &dir.join("slower.json"));
    let faster = save(&scaled(&report, "net/mobilenet_v2", 0.8), &dir.join("faster.json"));
    let noisy = save(&scaled(&report, "", 1.01), &dir.join("noisy.json"));

    let (status, out, err) = ran(&["compare", &old, &slower]);
    assert_eq!((status, err.as_str()), (1, ""));
    assert!(out.contains("slower:") && out.contains("+20.0 %") && out.contains("model/1.0"), "{out}");
    assert!(out.contains("1 slower, 0 faster") && out.contains("1 slower by more than 5 %"), "{out}");
    assert_eq!(ran(&["compare", &old, &slower, "--threshold", "25"]).0, 0);

    let (status, out, _) = ran(&["compare", &old, &faster]);
    assert_eq!(status, 0);
    assert!(out.contains("0 slower, 4 faster"), "{out}");

    let (status, out, _) = ran(&["compare", &old, &noisy, "--threshold", "0"]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("0 slower, 0 faster"), "{out}");
}

#[test]
fn other_work_and_other_machines_are_told_apart() {
    let dir = dir("unlike");
    let report = report();
    let mut other = report.clone();
    other["environment"]["cpu"] = "another processor".into();
    other["measurements"][0]["macs"] = 1.into();
    other["measurements"].as_array_mut().unwrap().pop();
    let (old, new) = (save(&report, &dir.join("old.json")), save(&other, &dir.join("new.json")));
    let (status, out, _) = ran(&["compare", &old, &new]);
    assert_eq!(status, 0);
    assert!(out.contains("! processor differs:") && out.contains("another processor now"), "{out}");
    assert!(out.contains("3 have no counterpart"), "{out}");

    let mut strange = report.clone();
    for m in strange["measurements"].as_array_mut().unwrap() {
        m["id"] = format!("{}!", m["id"].as_str().unwrap()).into();
    }
    let strange = save(&strange, &dir.join("strange.json"));
    let (status, out, err) = ran(&["compare", &old, &strange]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert_eq!(err, "error: the two reports have no measurement in common\n");
}

#[test]
fn bad_files_are_one_line_errors() {
    let dir = dir("bad");
    let good = save(&report(), &dir.join("good.json"));
    let mut cases = vec![("missing.json", None, "No such file")];
    cases.push(("garbage.json", Some("\u{0}\u{1}".to_owned()), "not a report of this program"));
    cases.push(("empty.json", Some(String::new()), "not a report of this program"));
    cases.push((
        "other.json",
        Some("{\"schema\": 99}".to_owned()),
        "expected schema 3 or an earlier one, found 99",
    ));
    cases.push(("part.json", Some("{\"schema\": 1}".to_owned()), "missing field"));
    let mut changed = |name, at: &str, value: Value, expected| {
        let mut report = report();
        *report.pointer_mut(at).unwrap() = value;
        cases.push((name, Some(report.to_string()), expected));
    };
    changed("hollow.json", "/measurements/3/seconds", json!([]), "at least one");
    changed("negative.json", "/measurements/3/seconds/0", json!(-1.0), "positive numbers");
    changed("odd.json", "/measurements", json!([1, "x"]), "not a report of this program");
    changed("split.json", "/splits", json!({}), "not a report of this program");
    // What an id becomes the name of must stay in the folder.
    let mut outside = report();
    outside["schema"] = 2.into();
    outside["networks"] = json!([]);
    outside["experiments"] =
        json!([{ "id": "../x", "title": "", "method": "", "row_name": "", "columns": [] }]);
    outside["splits"] = json!([]);
    outside["cold"] = json!([]);
    cases.push(("outside.json", Some(outside.to_string()), "letters and digits"));
    let deep = format!("{{\"schema\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    cases.push(("deep.json", Some(deep), "not a report of this program"));
    for (name, content, expected) in cases {
        let path = dir.join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let (status, out, err) = ran(&["compare", &good, path.to_str().unwrap()]);
        assert_eq!((status, out.as_str()), (1, ""), "{name}");
        assert!(err.starts_with("error: ") && err.contains(name) && err.contains(expected), "{name}: {err}");
        assert_eq!(err.lines().count(), 1, "{name}: {err}");
    }
    let (status, _, err) = ran(&["compare", &good, dir.to_str().unwrap()]);
    assert!(status == 1 && err.lines().count() == 1, "{err}");
}

/// Before three minutes of measuring, not after.
#[test]
fn a_bad_race_is_refused_at_once() {
    let dir = dir("race");
    for (content, expected) in [("[]", "not a race of engines"), ("{\"schema\":1}", "not a race of engines")]
    {
        let path = dir.join("peers.json");
        fs::write(&path, content).unwrap();
        let (status, _, err) = ran(&["--quick", "--peers", path.to_str().unwrap()]);
        assert!(status == 1 && err.contains(expected) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn usage_errors_are_status_2() {
    for args in [
        &["compare", "only-one.json"][..],
        &["--threads", "0"],
        &["--isa", "mmx"],
        &["--quick", "--full"],
        &["compare", "a", "b", "--threshold", "-1"],
        &["compare", "a", "b", "--threshold", "x"],
        &["nonsense"],
    ] {
        let (status, out, err) = ran(args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}");
        assert!(err.starts_with("error: ") && err.lines().count() == 1, "{args:?}: {err}");
    }
    let (status, out, _) = ran(&["--help"]);
    assert!(status == 0 && out.contains("--quick") && out.contains("compare"), "{out}");
}

/// Only what runs kernels asks which.
#[test]
fn the_instruction_set_of_the_environment_is_asked_for_where_it_matters() {
    let dir = dir("environment");
    let report = save(&report(), &dir.join("report.json"));
    let with = |value: &str, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench-suite"));
        let output = command.args(args).env("KERNELS_ISA", value).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for value in ["", "mmx"] {
        assert_eq!(with(value, &["compare", &report, &report]), (0, String::new()));
    }
    let (status, err) = with("mmx", &["--quick", "--out", dir.to_str().unwrap()]);
    assert!(status == 1 && err.starts_with("error: KERNELS_ISA: ") && err.lines().count() == 1, "{err}");
}

#[test]
fn who_reads_no_further_is_no_error_and_a_full_disk_is() {
    let dir = dir("pipe");
    let report = save(&report(), &dir.join("report.json"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_bench-suite"))
        .args(["compare", &report, &report])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench-suite"));
        let output = command.args(["compare", &report, &report]).stdout(full).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && err.starts_with("error: standard output: "), "{err}");
        assert_eq!(err.lines().count(), 1);
    }
}

#[test]
fn rendering_writes_every_file_and_a_summary() {
    let dir = dir("render");
    let report = save(&report(), &dir.join("report.json"));
    let out_dir = dir.join("a/b");
    let (status, out, err) = ran(&["render", &report, "--out", out_dir.to_str().unwrap()]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.lines().count() <= 40 && out.lines().all(|l| l.chars().count() <= 120), "one screen: {out}");
    assert!(out.contains("index.html"));
    let files: Vec<String> =
        fs::read_dir(&out_dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    for expected in
        ["index.html", "report.json", "g1.csv", "g1.svg", "latency-macs.svg", "roofline.svg", "peers.svg"]
    {
        assert!(files.iter().any(|f| f == expected), "{expected} in {files:?}");
    }
    assert!(files.iter().all(|f| !f.starts_with('.')), "nothing half-written is left: {files:?}");
    // The page names only files that are there.
    let page = fs::read_to_string(out_dir.join("index.html")).unwrap();
    for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let inside = link.starts_with('#') || link.starts_with("data:");
        assert!(inside || files.iter().any(|f| f == link), "{link}");
    }
    // What was written can be read and rendered again.
    let again = out_dir.join("report.json");
    assert_eq!(ran(&["render", again.to_str().unwrap(), "--out", dir.join("c").to_str().unwrap()]).0, 0);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let dir = dir("unwritable");
    let report = save(&report(), &dir.join("report.json"));
    fs::create_dir_all(dir.join("out/index.html")).unwrap();
    for (to, name) in [(report.as_str(), "report.json"), (dir.join("out").to_str().unwrap(), "index.html")] {
        // Before three minutes of measuring, not after.
        for args in [&["render", &report, "--out", to][..], &["--out", to]] {
            let (status, out, err) = ran(args);
            assert_eq!((status, out.as_str()), (1, ""));
            assert!(err.starts_with("error: ") && err.contains(name) && err.lines().count() == 1, "{err}");
        }
    }
}

#[test]
fn reports_are_set_side_by_side() {
    let dir = dir("merge");
    let report = report();
    let mut other = scaled(&report, "net/mobilenet_v1", 3.0);
    other["environment"]["cpu"] = "another processor".into();
    let (one, two) = (save(&report, &dir.join("one.json")), save(&other, &dir.join("two.json")));
    let out_dir = dir.join("side/by/side");
    let (status, out, err) = ran(&["merge", &one, &two, "--output", out_dir.to_str().unwrap()]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("change places") && out.contains("index.html"), "{out}");
    for name in ["index.html", "report-1.json", "report-2.json", "machines-flips.csv", "machines-latency.svg"]
    {
        assert!(out_dir.join(name).is_file(), "{name}");
    }
    let page = fs::read_to_string(out_dir.join("index.html")).unwrap();
    assert!(page.contains("another processor") && !page.contains("NaN"));
    assert_eq!(ran(&["merge", &one]).0, 2);
    let missing = dir.join("missing.json");
    let (status, _, err) = ran(&["merge", &one, missing.to_str().unwrap()]);
    assert!(status == 1 && err.contains("missing.json") && err.lines().count() == 1, "{err}");
}

#[test]
fn a_report_is_written_for_latex() {
    let dir = dir("latex");
    let report = save(&report(), &dir.join("report.json"));
    let out_dir = dir.join("tex");
    let (status, out, err) = ran(&["latex", &report, "--output", out_dir.to_str().unwrap()]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.ends_with("report.tex\n"), "{out}");
    let read = |name: &str| fs::read_to_string(out_dir.join(name)).unwrap();
    assert!(read("report.tex").contains("cargo run --release -- "));
    assert!(read("table-g1.tex").contains("\\toprule"));
    assert!(read("plot-latency-macs.tex").contains("\\begin{tikzpicture}"));
    assert!(read("references.bib").contains("1807.11164"));
}
