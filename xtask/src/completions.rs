//! `completions`: what a shell needs to complete `cargo xtask …`.
//!
//! Scripts are made for a program `xtask`. In Bash and Zsh a function of cargo's stands before that of cargo and hands over
//! what follows `cargo xtask`; what else cargo has is completed as before.

use crate::errors::Mistakes;
use clap::{Args, Command};
use clap_complete::Shell;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Shell. Bash and Zsh complete `cargo xtask`; the others complete a program or alias `xtask`
    shell: Shell,
}

const BASH: &str = r#"
_cargo_xtask() {
    if [[ "${COMP_WORDS[1]}" == xtask ]]; then
        COMP_WORDS=("${COMP_WORDS[@]:1}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _xtask xtask "$2" "$3"
    elif declare -F _cargo >/dev/null; then
        _cargo "$@"
    fi
}
complete -F _cargo_xtask -o bashdefault -o default cargo
"#;

const ZSH: &str = r#"
_cargo_xtask() {
    if [[ "${words[2]}" == xtask ]]; then
        shift words
        (( CURRENT-- ))
        _xtask
    else
        (( $+functions[_cargo] )) || autoload -Uz _cargo
        _cargo
    fi
}
compdef _cargo_xtask cargo
"#;

pub fn run(arguments: &Arguments, command: &mut Command) -> Result<ExitCode, Mistakes> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "xtask", &mut script);
    let cargo = match arguments.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        _ => "",
    };
    say!("{}{}", String::from_utf8_lossy(&script), cargo.trim_end());
    Ok(ExitCode::SUCCESS)
}
