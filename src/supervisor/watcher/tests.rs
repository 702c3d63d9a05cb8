use std::os::unix::fs::symlink;
use std::time::Instant;

use super::*;

const FAST: Duration = Duration::from_millis(5);
/// Nothing that is written at once takes so long.
const PATIENCE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);

/// Contents may be anything but "bad".
fn judge(texts: &[String]) -> Result<(), String> {
    match texts.iter().find(|text| text.contains("bad")) {
        Some(text) => Err(format!("line 1: `{}`", text.trim())),
        None => Ok(()),
    }
}

fn watch(paths: &[&Path], in_use: &[&[u8]]) -> Watcher {
    let group = Group {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        in_use: in_use.iter().map(|bytes| bytes.to_vec()).collect(),
        judge: Box::new(judge),
    };
    Watcher::start_each((FAST, PATIENCE), vec![group], || {}).expect("a thread")
}

#[track_caller]
fn next(watcher: &Watcher) -> What {
    watcher.news.recv_timeout(LIMIT).expect("news").what
}

#[track_caller]
fn next_texts(watcher: &Watcher) -> Vec<String> {
    match next(watcher) {
        What::Changed(files) => files
            .iter()
            .map(|(_, sealed)| memory::read_text(sealed).expect("it is sealed"))
            .map(|bytes| String::from_utf8(bytes).expect("it is text"))
            .collect(),
        other @ (What::Refused(_) | What::InUse) => panic!("{other:?}"),
    }
}

#[track_caller]
fn next_refusal(watcher: &Watcher) -> String {
    match next(watcher) {
        What::Refused(why) => why,
        other @ (What::Changed(_) | What::InUse) => panic!("{other:?}"),
    }
}

#[test]
fn a_change_in_place_a_rename_and_a_symlink_are_seen() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("list");
    fs::write(&path, "one").expect("written");
    let watcher = watch(&[&path], &[b"one"]);
    fs::write(&path, "two").expect("written");
    assert_eq!(next_texts(&watcher), ["two"]);
    let other = folder.path().join("list.new");
    fs::write(&other, "three").expect("written");
    fs::rename(&other, &path).expect("renamed");
    assert_eq!(next_texts(&watcher), ["three"]);
    // As Kubernetes changes what it mounts: a symlink to a folder is replaced by another.
    for (name, text) in [("a", "four"), ("b", "five")] {
        fs::create_dir(folder.path().join(name)).expect("folder");
        fs::write(folder.path().join(name).join("list"), text).expect("written");
    }
    let data = folder.path().join("data");
    symlink("a", &data).expect("symlink");
    let linked = folder.path().join("linked");
    symlink("data/list", &linked).expect("symlink");
    let watcher = watch(&[&linked], &[b"four"]);
    symlink("b", folder.path().join("data.new")).expect("symlink");
    fs::rename(folder.path().join("data.new"), &data).expect("renamed");
    assert_eq!(next_texts(&watcher), ["five"]);
}

#[test]
fn what_changed_before_the_first_look_is_seen() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("list");
    fs::write(&path, "newer").expect("written");
    let watcher = watch(&[&path], &[b"in use"]);
    assert_eq!(next_texts(&watcher), ["newer"]);
}

#[test]
fn bad_gone_and_unusable_files_are_refused_until_they_are_good() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("list");
    fs::write(&path, "good").expect("written");
    let watcher = watch(&[&path], &[b"good"]);
    fs::write(&path, "bad line").expect("written");
    assert_eq!(next_refusal(&watcher), "line 1: `bad line`");
    fs::remove_file(&path).expect("removed");
    let why = next_refusal(&watcher);
    assert!(why.contains("No such file"), "{why}");
    fs::create_dir(&path).expect("folder");
    let why = next_refusal(&watcher);
    assert!(why.contains("folder"), "{why}");
    fs::remove_dir(&path).expect("removed");
    let long = fs::File::create(&path).expect("made");
    long.set_len(MAX_NAMED_BYTES + 1)
        .expect("it is full of holes");
    // It is told that nothing is there, if a look comes between the two.
    let why = std::iter::repeat_with(|| next_refusal(&watcher))
        .take(2)
        .find(|why| why.contains("longer"));
    assert!(why.is_some());
    fs::write(&path, "good").expect("written");
    assert!(matches!(next(&watcher), What::InUse));
    let other = folder.path().join("list.new");
    fs::write(&other, "better").expect("written");
    fs::rename(&other, &path).expect("renamed");
    assert_eq!(next_texts(&watcher), ["better"]);
}

#[test]
fn files_of_a_group_change_together() {
    let folder = tempfile::tempdir().expect("folder");
    let [cert, key] = ["cert", "key"].map(|name| folder.path().join(name));
    fs::write(&cert, "1").expect("written");
    fs::write(&key, "1").expect("written");
    let group = Group {
        paths: vec![cert.clone(), key.clone()],
        in_use: vec![b"1".to_vec(), b"1".to_vec()],
        judge: Box::new(|texts: &[String]| match texts {
            [one, other] if one != other => Err("they do not belong together".to_owned()),
            _ => Ok(()),
        }),
    };
    let watcher = Watcher::start_each((FAST, PATIENCE), vec![group], || {}).expect("a thread");
    fs::write(&cert, "2").expect("written");
    // Long enough for a look that finds them at rest.
    std::thread::sleep(10 * FAST);
    fs::write(&key, "2").expect("written");
    assert_eq!(next_texts(&watcher), ["2", "2"]);
    let began = Instant::now();
    fs::write(&key, "3").expect("written");
    assert_eq!(next_refusal(&watcher), "they do not belong together");
    assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
    fs::write(&cert, "3").expect("written");
    assert_eq!(next_texts(&watcher), ["3", "3"]);
}

#[test]
fn the_thread_ends_when_nobody_listens() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("list");
    fs::write(&path, "one").expect("written");
    let (alive, ended) = std::sync::mpsc::channel::<()>();
    let group = Group {
        paths: vec![path.clone()],
        in_use: vec![b"one".to_vec()],
        judge: Box::new(judge),
    };
    let looked = move || alive.send(()).expect("the test listens");
    drop(Watcher::start_each((FAST, PATIENCE), vec![group], looked).expect("a thread"));
    let began = Instant::now();
    let mut text = 0;
    while ended.recv_timeout(LIMIT).is_ok() {
        assert!(began.elapsed() < LIMIT, "it goes on");
        text += 1;
        fs::write(&path, text.to_string()).expect("written");
        // At rest for two looks now and then.
        if text % 4 == 0 {
            std::thread::sleep(10 * FAST);
        }
    }
}
