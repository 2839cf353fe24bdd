//! Runs a hook in a container, telling what it prints, and says how it failed with its last words (behaviours §16).

use std::io::ErrorKind;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::engine::{
    ContainerConfig, ContainerId, ContainerState, Engine, EngineError, LogQuery, ProcessIo, Stream, Subject, WaitFor,
};
use crate::executor::StepError;
use crate::planner::plan::HookRun;
use crate::values::names::ServiceName;

/// Of a failed hook's output so much is told.
const TAIL_LINES: usize = 10;
const TAIL_BYTES: usize = 2048;

/// Runs it to its end.
pub async fn run(
    engine: &dyn Engine,
    id: &ContainerId,
    hook: &HookRun,
    tell: &(dyn Fn(&[u8]) + Send + Sync),
) -> Result<(), StepError> {
    let subject = || Subject::Container(id.short().to_owned());
    let failed =
        |error: std::io::Error| EngineError::Failed { verb: "exec in", subject: subject(), source: Box::new(error) };
    let (mut out, stdout) = pipe().map_err(failed)?;
    let (mut err, stderr) = pipe().map_err(failed)?;
    let io = ProcessIo::Files { stdin: None, stdout: Some(stdout), stderr: Some(stderr) };
    let mut process = match engine.exec(id, &hook.exec, io).await {
        Ok(process) => process,
        // A command that is not there fails as a shell would have it.
        Err(EngineError::Command { code, reason, .. }) => return Err(failure(hook, code, &reason)),
        Err(error) => return Err(error.into()),
    };
    let mut said = [Vec::new(), Vec::new()];
    let mut open = [true, true];
    let mut buffers = ([0; 4096], [0; 4096]);
    let status = loop {
        let (stream, read) = tokio::select! {
            biased;
            read = out.read(&mut buffers.0), if open[0] => (0, read),
            read = err.read(&mut buffers.1), if open[1] => (1, read),
            status = &mut process.status => break status,
        };
        let read = read.map_err(failed)?;
        open[stream] = read > 0;
        let bytes = if stream == 0 { &buffers.0[..read] } else { &buffers.1[..read] };
        tell(bytes);
        said[stream].extend_from_slice(bytes);
    };
    // What it left behind may hold the pipes open for ever; what is in them now is all of its own.
    for (stream, pipe) in [&out, &err].into_iter().enumerate() {
        loop {
            match pipe.try_read(&mut buffers.0) {
                Ok(0) => break,
                Ok(read) => {
                    tell(&buffers.0[..read]);
                    said[stream].extend_from_slice(&buffers.0[..read]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(failed(error).into()),
            }
        }
    }
    if said.iter().any(|said| said.last().is_some_and(|last| *last != b'\n')) {
        tell(b"\n");
    }
    let status = status.map_err(|_| EngineError::State {
        subject: subject(),
        state: "in other hands; how its hook ended is not known".into(),
    })??;
    if status == 0 {
        return Ok(());
    }
    let last = if said[1].is_empty() { &said[0] } else { &said[1] };
    Err(failure(hook, status, &String::from_utf8_lossy(last)))
}

/// Runs a container of its own to its end before a service starts. It goes if it ends well, and stays to be looked at if
/// not.
pub(super) async fn before(
    engine: &dyn Engine,
    service: &ServiceName,
    index: usize,
    leftover: Option<&ContainerId>,
    config: &ContainerConfig,
    tell: &(dyn Fn(&[u8]) + Send + Sync),
) -> Result<(), StepError> {
    if let Some(leftover) = leftover {
        match engine.remove_container(leftover, true, true).await {
            Ok(()) | Err(EngineError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let id = engine.create_container(config, None).await?;
    let failed = |status, said: &str| StepError::PreStart {
        service: service.clone(),
        index,
        status,
        tail: tail(said),
        id: id.clone(),
    };
    match engine.start_container(&id).await {
        Ok(()) => {}
        Err(EngineError::Command { code, reason, .. }) => return Err(failed(code, &reason)),
        Err(error) => return Err(error.into()),
    }
    let state = engine.wait_container(&id, WaitFor::Exited).await?;
    let mut said = [Vec::new(), Vec::new()];
    let mut log = engine.logs(&id, &LogQuery::default()).await?;
    while let Some(chunk) = log.recv().await {
        tell(&chunk.bytes);
        said[usize::from(chunk.stream == Stream::Stderr)].extend_from_slice(&chunk.bytes);
    }
    match state {
        ContainerState::Exited { status: 0, .. } => Ok(engine.remove_container(&id, true, true).await?),
        ContainerState::Exited { status, .. } => {
            let last = if said[1].is_empty() { &said[0] } else { &said[1] };
            Err(failed(status, &String::from_utf8_lossy(last)))
        }
        _ => Err(failed(255, "")),
    }
}

fn failure(hook: &HookRun, status: i32, said: &str) -> StepError {
    StepError::Hook { service: hook.service.clone(), status, tail: tail(said) }
}

/// The last lines, as far as they are not too long.
pub(super) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let text = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    let mut from = text.len().saturating_sub(TAIL_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let text = &text[from..];
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn pipe() -> std::io::Result<(Receiver, std::os::fd::OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    Ok((Receiver::from_owned_fd(reader.into())?, writer.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_ten_lines_and_two_kilobytes() {
        assert_eq!(tail("\n"), "");
        assert_eq!(tail("a\nb\n"), ": a\nb");
        let many: String = (0..20).map(|n| format!("{n}\n")).collect();
        assert!(tail(&many).starts_with(": 10\n"));
        assert_eq!(tail(&"ä".repeat(3000)).chars().count(), 1024 + 2);
    }
}
