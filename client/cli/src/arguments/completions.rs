//! Completions for shells.
//!
//! Options end at the host, and the words behind it are another machine's command: nothing of rcmd-client is
//! completed there. The scripts of clap_complete complete options there too. So the one for bash is our own, and
//! those for zsh and fish are mended.

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use super::tree;

/// Returns the completions for a shell.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    if shell == Shell::Bash {
        let mut tree = tree();
        tree.build();
        return bash(&tree).into_bytes();
    }
    let mut script = Vec::new();
    // Written into memory: the generator panics if its writer fails.
    clap_complete::generate(shell, &mut without_words(), "rcmd-client", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Zsh => {
            let script = script.replacen(ZSH_RUN, ZSH_RUN_MENDED, 1);
            script.replacen(ZSH_SSH, ZSH_SSH_MENDED, 1).into_bytes()
        }
        Shell::Fish => (script.into_owned() + FISH).into_bytes(),
        _ => script.into_owned().into_bytes(),
    }
}

/// Returns the command line without HOST and COMMAND. With them the script for zsh would complete subcommands
/// only as the second word.
fn without_words() -> Command {
    let bare = |name: &'static str, command: &Command| {
        let options = command.get_arguments().filter(|arg| !arg.is_positional());
        let about = command.get_about().cloned().unwrap_or_default();
        let bare = Command::new(name).about(about).version(env!("CARGO_PKG_VERSION"));
        bare.disable_version_flag(true).disable_help_subcommand(true).args(options)
    };
    let tree = tree();
    let subcommands = tree.get_subcommands().map(|command| match command.get_name() {
        "run" => bare("run", command),
        "ssh" => bare("ssh", command),
        _ => command.clone(),
    });
    bare("rcmd-client", &tree).subcommands(subcommands)
}

/// The call that completes `run` in clap_complete's script for zsh.
const ZSH_RUN: &str = "(run)\n_arguments \"${_arguments_options[@]}\" :";
/// The same call, with options only before the host (`-A`, zshcompsys(1)).
const ZSH_RUN_MENDED: &str = "(run)\n_arguments \"${_arguments_options[@]}\" -A \"-*\" :";

/// The same for `ssh`.
const ZSH_SSH: &str = "(ssh)\n_arguments \"${_arguments_options[@]}\" :";
/// The same for `ssh`.
const ZSH_SSH_MENDED: &str = "(ssh)\n_arguments \"${_arguments_options[@]}\" -A \"-*\" :";

/// The end of the script for fish. It replaces the function that says whether the options of a subcommand are
/// completed, so that those of `run` and `ssh` are completed only before the host.
const FISH: &str = "
function __fish_rcmd_client_using_subcommand
    set -l names $argv
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rcmd_client_global_optspecs) -- $cmd 2>/dev/null
    or return 1
    set -l name $argv[1]
    contains -- \"$name\" $names
    or return 1
    contains -- \"$name\" run ssh
    or return 0
    set -e argv[1]
    argparse -s (__fish_rcmd_client_global_optspecs) -- $argv 2>/dev/null
    or return 1
    test (count $argv) -eq 0
end
complete -c rcmd-client -f
complete -c rcmd-client -n '__fish_rcmd_client_using_subcommand cp' -F
";

/// The part of the script for bash that does not depend on the options.
///
/// bash also cuts words at `=` and `:` (COMP_WORDBREAKS, bash(1)): `--dir=x` comes as three.
const BASH: &str = r#"_rcmd_client() {
    local cur=${COMP_WORDS[COMP_CWORD]} sub="" option="" word i
    local flags valued folders files words
    COMPREPLY=()
    _rcmd_client_options ""
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        option=""
        if [[ $word == -- ]]; then
            # The next one is the host.
            return
        elif [[ $word == -* ]]; then
            if [[ " $valued " == *" $word "* ]]; then
                option=$word
                ((i++))
                if [[ ${COMP_WORDS[i]} == = ]]; then
                    ((i++))
                fi
                if ((i < COMP_CWORD)); then
                    option=""
                fi
            fi
        elif [[ -z $sub && " $subcommands " == *" $word "* ]]; then
            sub=$word
            _rcmd_client_options "$sub"
        elif [[ -z $sub || $sub == run || $sub == ssh ]]; then
            # Behind the host stands the command of another machine.
            return
        fi
    done
    if [[ $cur == = ]]; then
        cur=""
    fi
    if [[ -n $option ]]; then
        if [[ " $folders " == *" $option "* ]]; then
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        elif [[ " $files " == *" $option "* ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags $valued" -- "$cur")
    elif [[ -z $sub ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$subcommands" -- "$cur")
    elif [[ $sub == cp ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}
complete -o filenames -F _rcmd_client rcmd-client
"#;

fn bash(tree: &Command) -> String {
    let names: Vec<_> = tree.get_subcommands().map(Command::get_name).collect();
    let mut cases = case("*", tree);
    for command in tree.get_subcommands() {
        cases.insert_str(0, &case(command.get_name(), command));
    }
    let head = "# Sets what may stand behind the subcommand $1.\n_rcmd_client_options() {\n";
    let names = names.join(" ");
    let body =
        BASH.replace("local flags", &format!("local subcommands=\"{names}\"\n    local flags"));
    format!("{head}    case $1 in\n{cases}    esac\n}}\n\n{body}")
}

/// Returns the branch that sets the options of one subcommand.
fn case(name: &str, command: &Command) -> String {
    let of = |wanted: &dyn Fn(&Arg) -> bool| {
        let options = command.get_opts().chain(flags(command)).filter(|option| wanted(option));
        let shown = options.filter(|option| !option.is_hide_set());
        shown.flat_map(spellings).collect::<Vec<_>>().join(" ")
    };
    let takes = |option: &Arg| option.get_action().takes_values();
    let hinted = |option: &Arg, hint| takes(option) && option.get_value_hint() == hint;
    let words = command.get_positionals().flat_map(Arg::get_possible_values);
    let words: Vec<_> = words.map(|value| value.get_name().to_owned()).collect();
    format!(
        "        {name})\n            flags=\"{}\"\n            valued=\"{}\"\n            folders=\"{}\"\n            files=\"{}\"\n            words=\"{}\"\n            ;;\n",
        of(&|option| !takes(option)),
        of(&takes),
        of(&|option| hinted(option, ValueHint::DirPath)),
        of(&|option| hinted(option, ValueHint::FilePath)),
        words.join(" "),
    )
}

/// Returns the options without a value.
fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.get_action().takes_values())
}

/// Returns the short and the long form of an option.
fn spellings(option: &Arg) -> impl Iterator<Item = String> + use<> {
    let short = option.get_short().map(|short| format!("-{short}"));
    let long = option.get_long().map(|long| format!("--{long}"));
    short.into_iter().chain(long)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shell: Shell) -> String {
        String::from_utf8(script(shell)).unwrap()
    }

    #[test]
    fn what_is_mended_for_zsh_and_fish_is_there() {
        let zsh = text(Shell::Zsh);
        assert_eq!(zsh.matches(ZSH_RUN_MENDED).count(), 1, "{zsh}");
        assert_eq!(zsh.matches(ZSH_SSH_MENDED).count(), 1, "{zsh}");
        assert!(zsh.contains("case $line[1] in"), "subcommands are not the first word: {zsh}");
        let fish = text(Shell::Fish);
        let name = "function __fish_rcmd_client_using_subcommand";
        assert_eq!(fish.matches(name).count(), 2, "{fish}");
        assert!(fish.contains("function __fish_rcmd_client_global_optspecs"), "{fish}");
    }
}
