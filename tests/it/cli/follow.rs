//! Output of containers and news of their ends, in an order that does not depend on which came first.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use xcompose::cli::follow::{Follower, Interest, News, Seen};
use xcompose::cli::ui::logs::{Form, LogPrinter};
use xcompose::engine::*;
use xcompose::values::image_ref::ImageRef;
use xcompose::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};
use xcompose::values::platform::Platform;
use xcompose::values::signal::Signal;

/// An engine that only has logs.
#[derive(Default)]
struct Logs(Mutex<BTreeMap<String, Vec<(i64, &'static str)>>>);

impl Logs {
    fn write(&self, id: &str, time: i64, line: &'static str) {
        self.0.lock().unwrap().entry(id.to_owned()).or_default().push((time, line));
    }
}

#[async_trait]
impl Engine for Logs {
    async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<mpsc::Receiver<LogChunk>, EngineError> {
        let all = self.0.lock().unwrap().get(&id.0).cloned().unwrap_or_default();
        let (sender, receiver) = mpsc::channel(100);
        for (time, line) in all {
            let late = query.until.is_some_and(|until| time > until);
            if !late && query.since.is_none_or(|since| time >= since) {
                let bytes = line.as_bytes().to_vec();
                let chunk = LogChunk { container: id.clone(), stream: Stream::Stdout, time, bytes };
                sender.try_send(chunk).unwrap();
            }
        }
        if query.follow {
            // A log that is followed stays open; here until the reader gives up.
            tokio::spawn(async move { sender.closed().await });
        }
        Ok(receiver)
    }

    async fn observe(&self, _: &ProjectName, _: &[ImageRef]) -> Result<Observed, EngineError> {
        Ok(Observed::default())
    }
    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError> {
        unreachable!()
    }
    async fn lock(
        &self,
        _: &ProjectName,
        _: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError> {
        unreachable!()
    }
    async fn create_network(&self, _: &NetworkConfig) -> Result<String, EngineError> {
        unreachable!()
    }
    async fn remove_network(&self, _: &NetworkName) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn create_volume(&self, _: &VolumeConfig) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_volume(&self, _: &VolumeName) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn create_container(&self, _: &ContainerConfig, _: Option<&ContainerId>) -> Result<ContainerId, EngineError> {
        unreachable!()
    }
    async fn rename_container(&self, _: &ContainerId, _: &ContainerName) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn start_container(&self, _: &ContainerId) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn stop_container(&self, _: &ContainerId, _: Option<Duration>, _: Rest) -> Result<Stopped, EngineError> {
        unreachable!()
    }
    async fn kill_container(&self, _: &ContainerId, _: Signal) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn restart_container(&self, _: &ContainerId, _: Option<Duration>) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn pause_container(&self, _: &ContainerId, _: bool) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_container(&self, _: &ContainerId, _: bool, _: bool) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn wait_container(&self, _: &ContainerId, _: WaitFor) -> Result<ContainerState, EngineError> {
        unreachable!()
    }
    async fn events(&self, _: &ProjectName, _: &EventQuery) -> Result<mpsc::Receiver<Event>, EngineError> {
        unreachable!()
    }
    async fn story(&self, _: &ContainerId) -> Result<Story, EngineError> {
        unreachable!()
    }

    async fn exec(&self, _: &ContainerId, _: &ExecConfig, _: ProcessIo) -> Result<Process, EngineError> {
        unreachable!()
    }
    async fn start_attached(&self, _: &ContainerId, _: ProcessIo) -> Result<Process, EngineError> {
        unreachable!()
    }
    async fn leave(&self, _: &ContainerId, _: Attended, _: OwnedFd) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn input(&self, _: &ContainerId) -> Result<Option<OwnedFd>, EngineError> {
        unreachable!()
    }
    async fn usage(&self, _: &ContainerId) -> Result<Usage, EngineError> {
        unreachable!()
    }
    async fn copy_into(&self, _: &ContainerId, _: Outside, _: &str, _: CopyOptions) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn copy_from(&self, _: &ContainerId, _: &str, _: Outside, _: CopyOptions) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_files(&self, _: &ContainerId, _: &[String]) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn top(&self, _: &ContainerId) -> Result<Vec<ProcessRow>, EngineError> {
        unreachable!()
    }
    async fn images(&self) -> Result<Vec<ObservedImage>, EngineError> {
        unreachable!()
    }
    async fn build(&self, _: &BuildConfig, _: mpsc::Sender<Progress>) -> Result<ImageId, EngineError> {
        unreachable!()
    }
    async fn pull(&self, _: &ImageRef, _: Option<&Platform>, _: mpsc::Sender<Progress>) -> Result<Pulled, EngineError> {
        unreachable!()
    }

    async fn push(&self, _: &ImageRef, _: mpsc::Sender<Progress>) -> Result<Pushed, EngineError> {
        unreachable!()
    }

    async fn login(&self, _: &str, _: &str, _: &str) -> Result<LoggedIn, EngineError> {
        unreachable!()
    }

    async fn logout(&self, _: &str) -> Result<bool, EngineError> {
        unreachable!()
    }

    async fn inspect_image(&self, _: &str) -> Result<ImageDetail, EngineError> {
        unreachable!()
    }

    async fn prune_images(&self, _: bool) -> Result<Pruned, EngineError> {
        unreachable!()
    }

    async fn commit_container(&self, _: &ContainerId, _: &CommitConfig) -> Result<ImageId, EngineError> {
        unreachable!()
    }

    async fn export_container(&self, _: &ContainerId, _: OwnedFd) -> Result<(), EngineError> {
        unreachable!()
    }

    async fn disk_use(&self) -> Result<DiskUse, EngineError> {
        unreachable!()
    }

    async fn import_image(&self, _: OwnedFd, _: Option<&ImageRef>) -> Result<ImageId, EngineError> {
        unreachable!()
    }
    async fn load_images(&self, _: OwnedFd) -> Result<Vec<ImageRef>, EngineError> {
        unreachable!()
    }
    async fn save_images(&self, _: &[ImageRef], _: OwnedFd) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn tag_image(&self, _: &ImageRef, _: &ImageRef) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_image(&self, _: &str, _: bool) -> Result<Vec<String>, EngineError> {
        unreachable!()
    }
}

/// What has been printed, for the test to read.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Scene {
    engine: Arc<Logs>,
    paper: Paper,
    follower: Follower,
}

impl Scene {
    fn new() -> Scene {
        let (engine, paper) = (Arc::new(Logs::default()), Paper::default());
        let form = Form { prefix: true, ..Form::default() };
        let printer = LogPrinter::new(form, Box::new(paper.clone()) as Box<dyn Write>, Box::new(paper.clone()) as _);
        let follower = Follower::new(engine.clone(), &ProjectName::try_from("p").unwrap(), printer);
        Scene { engine, paper, follower }
    }

    async fn event(&mut self, id: &str, time: i64, action: EventAction) -> Seen {
        let labels = [("com.docker.compose.service", id), ("com.docker.compose.oneoff", "False")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let name = ContainerName::try_from(format!("p-{id}-1")).unwrap();
        let event = Event {
            time,
            container: ContainerId(id.to_owned()),
            name,
            labels,
            image: None,
            action,
            notes: Default::default(),
        };
        let all = |_: &Labels| true;
        let interest = Interest { shown: &all, counts: &all, query: LogQuery::default() };
        self.follower.take(News::Event(Box::new(event)), &interest).await.unwrap()
    }

    fn printed(&mut self) -> String {
        self.follower.printer().flush().unwrap();
        String::from_utf8(self.paper.0.lock().unwrap().clone()).unwrap()
    }
}

fn run(scene: impl AsyncFnOnce(Scene)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scene(Scene::new()));
}

fn died(status: i32, restarting: bool) -> EventAction {
    EventAction::Die { status, restarting }
}

#[test]
fn the_last_line_comes_before_the_exit_even_if_nothing_had_been_read_yet() {
    run(async |mut scene| {
        scene.event("a", 1, EventAction::Start).await;
        scene.engine.write("a", 2, "hello\n");
        scene.engine.write("a", 3, "bye\n");
        let seen = scene.event("a", 4, died(3, false)).await;
        assert_eq!(seen, Seen::Exit { service: "a".to_owned(), status: 3 });
        assert_eq!(scene.printed(), "a-1  | hello\na-1  | bye\na-1 exited with code 3\n");
        assert!(!scene.follower.busy());
    });
}

#[test]
fn a_line_that_was_read_along_is_not_printed_again_at_the_end() {
    run(async |mut scene| {
        scene.engine.write("a", 1, "one\n");
        scene.event("a", 1, EventAction::Start).await;
        let news = scene.follower.wait().await.unwrap();
        assert!(matches!(news, News::Chunk(_)));
        let all = |_: &Labels| true;
        let interest = Interest { shown: &all, counts: &all, query: LogQuery::default() };
        scene.follower.take(news, &interest).await.unwrap();
        scene.engine.write("a", 2, "two\n");
        scene.event("a", 3, died(0, false)).await;
        assert_eq!(scene.printed(), "a-1  | one\na-1  | two\na-1 exited with code 0\n");
    });
}

#[test]
fn each_run_of_a_restarted_container_is_told_with_its_own_lines() {
    run(async |mut scene| {
        scene.event("a", 1, EventAction::Start).await;
        scene.engine.write("a", 2, "first\n");
        // The second run has written already when the end of the first is told.
        scene.engine.write("a", 5, "second\n");
        assert_eq!(scene.event("a", 3, died(1, true)).await, Seen::Other);
        assert!(scene.follower.busy(), "it will run again");
        scene.event("a", 4, EventAction::Start).await;
        scene.event("a", 6, died(0, false)).await;
        assert_eq!(
            scene.printed(),
            "a-1  | first\na-1 exited with code 1 (restarting)\na-1  | second\na-1 exited with code 0\n"
        );
    });
}

#[test]
fn a_container_that_is_removed_in_the_pause_between_two_runs_is_waited_for_no_more() {
    run(async |mut scene| {
        scene.event("a", 1, EventAction::Start).await;
        scene.event("a", 2, died(1, true)).await;
        scene.event("a", 3, EventAction::Stop).await;
        assert!(!scene.follower.busy());
    });
}
