//! Completions for shells.
//!
//! The one for bash is our own. Options stop at the host, and what stands behind it is not ours to
//! complete; clap_complete's does so, and loses the subcommands of a program with a `-` in its name.

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use super::tree;

/// Returns the completions for a shell.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut tree = tree();
    if shell == Shell::Bash {
        tree.build();
        return bash(&tree).into_bytes();
    }
    let mut script = Vec::new();
    // Into memory: the generator panics when its writer fails.
    clap_complete::generate(shell, &mut tree, "rcmd-client", &mut script);
    script
}

/// What is the same whatever the options are.
///
/// bash cuts words at `=` and `:` too (COMP_WORDBREAKS, bash(1)): `--dir=x` comes as three.
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
        elif [[ -z $sub || $sub == run ]]; then
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

/// The options without a value.
fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.get_action().takes_values())
}

/// The ways to write an option.
fn spellings(option: &Arg) -> impl Iterator<Item = String> + use<> {
    let short = option.get_short().map(|short| format!("-{short}"));
    let long = option.get_long().map(|long| format!("--{long}"));
    short.into_iter().chain(long)
}
