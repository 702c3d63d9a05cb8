use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// A folder with programs.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A shell script.
    fn script(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the folder is writable");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("it is ours");
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn job(program: &Path) -> Job {
    Job {
        program: program.to_owned(),
        arguments: Vec::new(),
        environment: vec![("PATH", "/usr/bin:/bin".into())],
        timeout: Duration::from_secs(10),
    }
}

fn run(job: &Job) -> Ran {
    let (reader, _writer) = io::pipe().expect("a pipe");
    let mut ran = job.run(&reader, &ExternalGroup::default());
    // A process that another test is just starting may hold the script open for writing still.
    for _ in 0..100 {
        if !ran.end.words.contains("text file busy") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        ran = job.run(&reader, &ExternalGroup::default());
    }
    ran
}

fn script(text: &str) -> (Programs, Ran) {
    let programs = Programs::new();
    let ran = run(&job(&programs.script(text)));
    (programs, ran)
}

fn ended(text: &str) -> (ProbeStatus, Option<u8>, String) {
    let (_programs, ran) = script(text);
    assert!(ran.left.is_none());
    (ran.end.status, ran.end.code, ran.end.words)
}

/// Whether a process of this number runs; one that is dead and not reaped yet does not.
fn runs(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let (_, after) = state.rsplit_once(") ").unwrap_or_default();
    !after.is_empty() && !after.starts_with(['Z', 'X'])
}

#[track_caller]
fn assert_gone(pid: &str) {
    assert!(!pid.trim().is_empty());
    let until = Instant::now() + Duration::from_secs(5);
    while runs(pid) {
        assert!(Instant::now() < until, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_exit_code_decides_and_the_first_line_is_the_reason() {
    use ProbeStatus::{ProcErr, ProcOk};
    let good = (ProcOk, Some(0), "exit code 0".to_owned());
    assert_eq!(ended("exit 0"), good);
    let told = (ProcErr, Some(3), "exit code 3: disk full".to_owned());
    assert_eq!(ended("echo; echo disk full >&2; echo more; exit 3"), told);
    let most = (ProcErr, Some(255), "exit code 255".to_owned());
    assert_eq!(ended("exit 255"), most);
    let signal = (ProcErr, None, "killed by signal 15: bye".to_owned());
    assert_eq!(ended("echo bye; kill -15 $$"), signal);
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let programs = Programs::new();
    let pids = programs.file("pids");
    let text = format!(
        "trap '' TERM\n(sleep 300 & echo $! >> {0}; wait) &\necho $! >> {0}\necho waits\nwait",
        pids.display()
    );
    let mut job = job(&programs.script(&text));
    job.timeout = Duration::from_millis(700);
    let began = Instant::now();
    let ran = run(&job);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(ran.was_killed && ran.left.is_none());
    assert_eq!(ran.end.status, ProbeStatus::ProcTout);
    assert_eq!(ran.end.words, "killed after 700 ms: waits");
    let pids = fs::read_to_string(pids).expect("it has written them");
    assert_eq!(pids.lines().count(), 2, "{pids}");
    pids.lines().for_each(assert_gone);
}

#[test]
fn what_a_program_leaves_behind_is_killed_and_not_waited_for() {
    let programs = Programs::new();
    let pid = programs.file("pid");
    let text = format!("sleep 300 &\necho $! > {}\nexit 1", pid.display());
    let began = Instant::now();
    let ran = run(&job(&programs.script(&text)));
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!((ran.end.code, ran.was_killed), (Some(1), false));
    assert_gone(&fs::read_to_string(pid).expect("it has written it"));
}

#[test]
fn a_flood_of_output_ends_the_program() {
    let began = Instant::now();
    let (_programs, ran) = script("echo first; exec yes");
    assert!(began.elapsed() < Duration::from_secs(4));
    assert!(ran.was_killed);
    assert_eq!(ran.end.status, ProbeStatus::ProcErr);
    assert_eq!(ran.end.words, "killed after 64 KiB of output: first");
}

#[test]
fn much_output_that_is_not_too_much_is_read_to_its_end() {
    // More than a pipe holds at once with one reader's buffer, less than the bound.
    let text = "i=0; while [ $i -lt 600 ]; do echo 'some hundred bytes, or nearly so, which nobody needs to \
                read at all, ever'; i=$((i+1)); done; exit 4";
    let (status, code, words) = ended(text);
    assert_eq!((status, code), (ProbeStatus::ProcErr, Some(4)));
    assert!(words.starts_with("exit code 4: some hundred"), "{words}");
    let closes = ended("exec >&- 2>&-; sleep 0.1; exit 5");
    assert_eq!(closes.1, Some(5));
}

#[test]
fn what_cannot_be_started_says_why_and_nothing_of_the_server() {
    let programs = Programs::new();
    let not_started = |program: &Path| {
        let ran = run(&job(program));
        assert_eq!(ran.end.status, ProbeStatus::SockErr);
        ran.end.words
    };
    let absent = programs.file("absent");
    let words = "the program cannot be started: no such file or directory";
    assert_eq!(not_started(&absent), words);
    let plain = programs.script("exit 0");
    fs::set_permissions(&plain, Permissions::from_mode(0o600)).expect("it is ours");
    let words = "the program cannot be started: permission denied";
    assert_eq!(not_started(&plain), words);
    let garbage = programs.file("garbage");
    fs::write(&garbage, [0x7f; 64]).expect("the folder is writable");
    fs::set_permissions(&garbage, Permissions::from_mode(0o700)).expect("it is ours");
    // The C library may give it to sh(1), which makes nothing of it either.
    assert_ne!(run(&job(&garbage)).end.status, ProbeStatus::ProcOk);
}

#[test]
fn a_program_gets_its_arguments_and_nothing_of_ours() {
    let programs = Programs::new();
    let folder = programs.0.path().display().to_string();
    // Whatever somebody has forgotten to close at execve(2).
    let forgotten = fs::File::open("/dev/null").expect("it is there");
    rustix::io::fcntl_setfd(&forgotten, rustix::io::FdFlags::empty()).expect("set");
    let text = format!(
        "cd {folder}/..; pwd > {folder}/wd; echo \"$#:$1:$2\" > {folder}/arguments; env > {folder}/environment\n\
         ls /proc/self/fd > {folder}/descriptors; cut -d' ' -f5 /proc/$$/stat > {folder}/group\n\
         echo $$ > {folder}/own; cat > {folder}/input"
    );
    let mut job = job(&programs.script(&text));
    job.arguments = vec!["a b".into(), "$(id)".into()];
    job.environment
        .push(("FMC_LB_SERVER", "10.17.4.24:80".into()));
    assert_eq!(run(&job).end.code, Some(0));
    let said = |name: &str| fs::read_to_string(programs.file(name)).expect("it has written it");
    assert_eq!(said("arguments"), "2:a b:$(id)\n");
    let environment = said("environment");
    // The shell has some of its own.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let names = environment.lines().filter_map(|line| line.split_once('='));
    let mut names: Vec<&str> = names.map(|(name, _)| name).collect();
    names.retain(|name| !own.contains(name));
    names.sort_unstable();
    assert_eq!(names, ["FMC_LB_SERVER", "PATH"], "{environment}");
    // The last one is ls(1)'s own.
    assert_eq!(said("descriptors"), "0\n1\n2\n3\n");
    assert_eq!(said("group"), said("own"), "it leads a process group");
    assert_eq!(said("input"), "");
}

#[test]
fn a_program_ends_when_we_do() {
    let programs = Programs::new();
    let pid = programs.file("pid");
    let text = format!("echo $$ > {}; exec sleep 300", pid.display());
    let job = job(&programs.script(&text));
    let (reader, writer) = io::pipe().expect("a pipe");
    let running = std::thread::spawn(move || job.run(&reader, &ExternalGroup::default()));
    while fs::read_to_string(&pid).unwrap_or_default().is_empty() {
        assert!(!running.is_finished(), "it ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(writer);
    let ran = running.join().expect("it does not panic");
    assert_eq!(ran.end.status, ProbeStatus::SockErr);
    assert_gone(&fs::read_to_string(pid).expect("it has written it"));
}

/// That is how the kernel knows that we have died: by the thread that has started the program.
#[test]
fn a_program_ends_with_the_thread_that_has_started_it() {
    let programs = Programs::new();
    let job = job(&programs.script("exec sleep 300"));
    let (mut child, _output, _handle) = std::thread::spawn(move || {
        let mut started = job.start();
        // As `run` above.
        for _ in 0..100 {
            if started.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            started = job.start();
        }
        started.expect("it starts")
    })
    .join()
    .expect("it does not panic");
    let until = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        assert!(Instant::now() < until, "it still runs");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn what_an_earlier_process_has_left_is_killed_and_nothing_else() {
    let programs = Programs::new();
    let pids = programs.file("pids");
    let text = format!(
        "sleep 300 & echo $! >> {0}; sleep 300 & echo $! >> {0}",
        pids.display()
    );
    let group = || {
        let mut leader = Command::new("/bin/sh");
        let mut leader = leader
            .args(["-c", &text])
            .process_group(0)
            .spawn()
            .expect("sh(1)");
        let began = started(leader.id()).expect("it is not reaped yet");
        leader.wait().expect("it ends");
        (leader.id(), began)
    };
    let left = group();
    let said = fs::read_to_string(&pids).expect("they have said who they are");
    assert!(said.lines().count() == 2 && said.lines().all(runs));
    // Its first process is gone, and the number is still the group's.
    kill_abandoned(left);
    said.lines().for_each(assert_gone);
    kill_abandoned(left);
    // The number has been given to another process, which leads a group too.
    let mut other = Command::new("/bin/sleep");
    let mut other = other.arg("300").process_group(0).spawn().expect("sleep(1)");
    kill_abandoned((other.id(), left.1.wrapping_sub(1)));
    std::thread::sleep(Duration::from_millis(50));
    assert!(runs(&other.id().to_string()));
    kill_abandoned((other.id(), started(other.id()).expect("it runs")));
    assert!(!other.wait().expect("it is ours").success());
}
