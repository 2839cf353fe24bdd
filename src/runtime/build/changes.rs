//! Instructions that change how an image is run and make no files: what `commit --change` takes.

use crate::runtime::build::dockerfile::Dockerfile;
use crate::runtime::build::instruction::Instruction;
use crate::runtime::build::state::State;
use crate::runtime::image::config::ImageDocument;

/// Applies them in order. The reason of a failure names the instruction.
pub(in crate::runtime) fn apply(document: &mut ImageDocument, changes: &[String]) -> Result<(), String> {
    let mut state = State::on(std::mem::take(document));
    for text in changes {
        let lines = Dockerfile::parse("--change", text).map_err(|error| error.to_string())?;
        for step in &lines.steps {
            change(&mut state, &step.instruction).map_err(|reason| format!("--change {text:?}: {reason}"))?;
        }
    }
    *document = state.document;
    Ok(())
}

fn change(state: &mut State, instruction: &Instruction) -> Result<(), String> {
    const ESCAPE: char = '\\';
    match instruction {
        Instruction::Env(pairs) => state.environment(pairs, ESCAPE)?,
        Instruction::Label(pairs) => state.labels(pairs, ESCAPE)?,
        Instruction::User(user) => state.document.config.user = state.word(user, ESCAPE)?,
        Instruction::Expose(ports) => state.expose(ports, ESCAPE)?,
        Instruction::Volume(paths) => state.volumes(paths, ESCAPE)?,
        Instruction::Workdir(path) => {
            let path = state.word(path, ESCAPE)?;
            state.working_dir(&path);
        }
        Instruction::Entrypoint(command) => {
            // Unlike in a Dockerfile the command stays: it is another line of the same configuration.
            let command_line = std::mem::take(&mut state.document.config.cmd);
            state.entrypoint(command);
            state.document.config.cmd = command_line;
        }
        Instruction::Cmd(command) => state.command(command),
        Instruction::StopSignal(signal) => {
            let signal = state.word(signal, ESCAPE)?;
            state.stop_signal(&signal)?;
        }
        Instruction::Healthcheck(check) => state.health(check.as_ref()),
        Instruction::OnBuild(text) => state.document.config.on_build.push(text.clone()),
        _ => {
            return Err(
                "only CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and \
                        WORKDIR change how an image is run"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_lines_of_a_dockerfile_that_make_no_files() {
        let mut document = ImageDocument::scratch();
        document.config.cmd = vec!["old".to_owned()];
        let changes =
            ["ENV A=1 B=$A", "entrypoint [\"/e\"]", "EXPOSE 80", "WORKDIR /x", "LABEL l=v"].map(str::to_owned);
        apply(&mut document, &changes).unwrap();
        assert_eq!(
            (document.config.entrypoint.as_slice(), document.config.cmd.as_slice()),
            (&["/e".to_owned()][..], &["old".to_owned()][..])
        );
        assert!(
            document.config.env.contains(&"A=1".to_owned()) && document.config.exposed_ports.contains_key("80/tcp")
        );
        assert_eq!(document.config.working_dir, "/x");
        for (wrong, word) in
            [("RUN x", "change how an image is run"), ("NONSENSE", "NONSENSE"), ("EXPOSE x", "invalid port")]
        {
            let error = apply(&mut document, &[wrong.to_owned()]).unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }
}
