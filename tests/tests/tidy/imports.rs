//! Reads from a crate's sources which of its files imports which.
//!
//! A module is a file. A path counts for the file that *defines* what it names: re-exports and imports on
//! the way there are followed. These count for nothing:
//!
//! - what tests alone need: items under `#[cfg(test)]`, and the files that such an item declares;
//! - `mod child;`, and `pub use child::Thing;` as long as the parent does not use `Thing` itself.
//!
//! A child is a part of its parent: that it uses what the parent defines makes no circle. Siblings that
//! use each other do, and so do files of different rooms, whatever stands between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A module's names from the root of its crate, without `crate`.
type Name = Vec<String>;

/// The name of the module above all rooms: `lib.rs`, or `main.rs` in a package without it.
const ROOT: &[String] = &[];

/// A crate's modules, without those of its tests.
pub(crate) struct Crate(BTreeMap<Name, Module>);

/// The contents of one file.
#[derive(Default)]
struct Module {
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// The types and traits, each with whether it is `pub`.
    types: Vec<(String, bool)>,
    /// Each name that a `use` brings in, and what it is there.
    brought: BTreeMap<String, Name>,
    globs: Vec<Name>,
    /// Re-exports of what a child has: the name here, and what it is there.
    offered: Vec<(String, Name)>,
    used: Vec<Name>,
    /// Every identifier outside `use`.
    words: HashSet<String>,
}

impl Crate {
    /// Reads the crate that its programs call `own` (`rcmd_server`). `load` returns the text of a module.
    pub(crate) fn read(own: &str, load: impl Fn(&[String]) -> Option<String>) -> Self {
        let mut modules = BTreeMap::new();
        let mut next = vec![ROOT.to_vec()];
        while let Some(name) = next.pop() {
            let Some(text) = load(&name) else { continue };
            let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{name:?}: {e}"));
            let mut reader = Reader { own, name: &name, found: Module::default() };
            reader.declarations(&tokens);
            reader.walk(tokens, 0, true);
            let found = reader.found;
            next.extend(
                found
                    .children
                    .iter()
                    .map(|child| [&name[..], std::slice::from_ref(child)].concat()),
            );
            modules.insert(name, found);
        }
        Self(modules)
    }

    /// Returns the first names of all modules.
    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|name| name.first()).map(String::as_str).collect()
    }

    /// Returns types and traits: the name, its module, and whether it is `pub`.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&str, String, bool)> {
        self.0.iter().flat_map(|(module, found)| {
            let types = found.types.iter();
            types.map(|(name, public)| (name.as_str(), module.join("::"), *public))
        })
    }

    /// Returns, for each module, those that it imports, each with an example of what.
    pub(crate) fn imports(&self) -> BTreeMap<Name, BTreeMap<Name, String>> {
        let mut imports = BTreeMap::new();
        for (name, module) in &self.0 {
            let offered = module.offered.iter().filter(|(word, _)| module.words.contains(word));
            let paths = module.used.iter().chain(offered.map(|(_, path)| path));
            let mut found = BTreeMap::new();
            for path in paths {
                if let Some(target) = self.home_of(path, 0).filter(|target| target != name) {
                    found.entry(target).or_insert_with(|| path.join("::"));
                }
            }
            imports.insert(name.clone(), found);
        }
        imports
    }

    /// Returns the module that defines what a path names, or `None` when that is another crate's.
    fn home_of(&self, path: &[String], depth: usize) -> Option<Name> {
        let mut at = ROOT.to_vec();
        for (index, segment) in path.iter().enumerate() {
            let module = self.0.get(&at)?;
            if module.children.contains(segment) {
                at.push(segment.clone());
                continue;
            }
            if depth > 20 || module.defined.contains(segment) {
                return Some(at);
            }
            let rest = &path[index + 1..];
            if let Some(target) = module.brought.get(segment) {
                return self.home_of(&[&target[..], rest].concat(), depth + 1);
            }
            for glob in &module.globs {
                let inside = self.home_of(glob, depth + 1);
                let inside = inside.filter(|inside| *inside != at && self.has(inside, segment));
                if let Some(inside) = inside {
                    return self.home_of(&[&inside[..], &path[index..]].concat(), depth + 1);
                }
            }
            return Some(at);
        }
        Some(at)
    }

    fn has(&self, name: &[String], word: &str) -> bool {
        self.0.get(name).is_some_and(|module| {
            module.defined.contains(word)
                || module.brought.contains_key(word)
                || module.children.contains(word)
        })
    }

    /// Returns the groups of files each of which imports every other, by way of others if not at
    /// once. What a file imports from the one whose part it is (`super`) is left out.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let mut imports = self.imports();
        for (name, targets) in &mut imports {
            targets.retain(|target, _| !name.starts_with(target));
        }
        let reach: BTreeMap<&Name, BTreeSet<&Name>> =
            imports.keys().map(|name| (name, reachable(&imports, name))).collect();
        let mut circles = BTreeSet::new();
        for (name, reached) in &reach {
            if reached.contains(name) {
                let both = reached.iter().filter(|other| reach[**other].contains(name));
                circles.insert(both.map(|other| shown(other)).collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }

    /// Imports of a room by one that stands below it in `layers`, the lowest first.
    pub(crate) fn upward(&self, layers: &[&str]) -> Vec<String> {
        let place = |name: &Name| {
            let room = name.first()?;
            layers.iter().position(|layer| layer == room)
        };
        let mut upward = Vec::new();
        for (name, targets) in self.imports() {
            for (target, what) in targets {
                // What is in no list is above all that is, but a program stands above its library.
                let (here, there) = (place(&name), place(&target));
                if target.is_empty() && here.is_some_and(|here| here + 1 == layers.len()) {
                    continue;
                }
                if here.is_some() && there.is_none_or(|there| Some(there) > here) {
                    upward.push(format!("{} imports {} ({what})", shown(&name), shown(&target)));
                }
            }
        }
        upward
    }
}

fn reachable<'a>(
    imports: &'a BTreeMap<Name, BTreeMap<Name, String>>,
    from: &'a Name,
) -> BTreeSet<&'a Name> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(name) = next.pop() {
        let targets = imports.get(name).into_iter().flat_map(BTreeMap::keys);
        next.extend(targets.filter(|target| reached.insert(*target)));
    }
    reached
}

fn shown(name: &[String]) -> String {
    if name.is_empty() { "the root".to_owned() } else { name.join("::") }
}

/// A reader of one file.
struct Reader<'a> {
    own: &'a str,
    name: &'a [String],
    found: Module,
}

/// The visibility of the next item.
#[derive(Clone, Copy, PartialEq)]
enum Visibility {
    Private,
    Restricted,
    Public,
}

impl Reader<'_> {
    /// Finds the modules that this one declares, wherever they stand: a path may begin with one.
    fn declarations(&mut self, tokens: &TokenStream) {
        let tokens: Vec<_> = tokens.clone().into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if let Some(end) = end_of_test(&tokens, at) {
                at = end;
                continue;
            }
            if let [keyword, name, end, ..] = &tokens[at..]
                && is_word(keyword, "mod")
                && is_punct(end, ';')
            {
                self.found.children.insert(name.to_string());
            }
            at += 1;
        }
    }

    /// Reads tokens at `depth` modules within this file; `items` is false inside functions and types.
    fn walk(&mut self, tokens: TokenStream, depth: usize, items: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut visibility = Visibility::Private;
        let mut at = 0;
        while at < tokens.len() {
            if let Some(end) = end_of_test(&tokens, at) {
                at = end;
                continue;
            }
            let following = tokens.get(at + 1);
            match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => at += 1,
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    if word == "pub" {
                        let restricted = following.and_then(restriction).is_some();
                        visibility =
                            if restricted { Visibility::Restricted } else { Visibility::Public };
                        at += 1 + usize::from(restricted);
                        continue;
                    }
                    at = self.item(&tokens, at, &word, depth, items, visibility);
                }
                TokenTree::Group(group) => {
                    // What a macro is given stands where the macro does.
                    let of_macro = at > 0 && is_punct(&tokens[at - 1], '!');
                    self.walk(group.stream(), depth, items && of_macro);
                    at += 1;
                }
                _ => at += 1,
            }
            visibility = Visibility::Private;
        }
    }

    /// Reads what begins with `word` at `at`, and returns where it goes on.
    fn item(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        word: &str,
        depth: usize,
        items: bool,
        visibility: Visibility,
    ) -> usize {
        match (word, tokens.get(at + 1), tokens.get(at + 2)) {
            ("use", ..) => {
                let length = tokens[at..].iter().take_while(|token| !is_punct(token, ';')).count();
                let mut leaves = Vec::new();
                tree(&tokens[at + 1..at + length], Vec::new(), &mut leaves);
                leaves.into_iter().for_each(|leaf| self.brings(leaf, depth, visibility));
                return at + length;
            }
            ("mod", Some(TokenTree::Ident(_)), Some(TokenTree::Group(inline))) => {
                self.walk(inline.stream(), depth + 1, items);
                return at + 3;
            }
            ("mod", Some(TokenTree::Ident(_)), _) => return at + 2,
            (
                "struct" | "enum" | "trait" | "type" | "union" | "fn" | "const" | "static",
                Some(TokenTree::Ident(name)),
                _,
            ) if items && depth == 0 => {
                if ["struct", "enum", "trait", "type", "union"].contains(&word) {
                    let public = visibility == Visibility::Public;
                    self.found.types.push((name.to_string(), public));
                }
                self.found.defined.insert(name.to_string());
                // `const fn` and the like: the name is still to come.
                return at + if name == "fn" || name == "unsafe" { 1 } else { 2 };
            }
            ("macro_rules", Some(bang), Some(TokenTree::Ident(name))) if is_punct(bang, '!') => {
                self.found.defined.insert(name.to_string());
            }
            _ => {}
        }
        let (path, end) = path_at(tokens, at);
        let begins = at == 0 || !is_punct(&tokens[at - 1], ':');
        if begins && path.len() > 1 {
            self.found.used.extend(self.absolute(&path, depth));
        }
        self.found.words.extend(path);
        end
    }

    /// Records what one leaf of a `use` brings.
    fn brings(&mut self, (path, alias): (Name, String), depth: usize, visibility: Visibility) {
        let Some(target) = self.absolute(&path, depth) else { return };
        let of_child = target.len() > self.name.len() && target.starts_with(self.name);
        let reexport = visibility != Visibility::Private && of_child;
        if alias == "*" {
            self.found.globs.push(target.clone());
            if !reexport {
                self.found.used.push(target);
            }
            return;
        }
        if reexport {
            self.found.offered.push((alias.clone(), target.clone()));
        } else {
            self.found.used.push(target.clone());
        }
        if alias != "_" && depth == 0 {
            self.found.brought.insert(alias, target);
        }
    }

    /// Returns a path from the crate's root, or `None` when it leads out of the crate or is a local
    /// name.
    fn absolute(&self, path: &[String], depth: usize) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            own if own == self.own => Some(rest.to_vec()),
            "self" => Some([self.name, rest].concat()),
            "super" => {
                let supers = path.iter().take_while(|segment| *segment == "super").count();
                let up = self.name.len().checked_sub(supers.saturating_sub(depth))?;
                Some([&self.name[..up], &path[supers..]].concat())
            }
            child if self.found.children.contains(child) => Some([self.name, path].concat()),
            _ => None,
        }
    }
}

/// Returns the end of an item that is only for tests, if one begins here.
fn end_of_test(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let attribute = |at: usize| match tokens.get(at..at + 2)? {
        [hash, TokenTree::Group(group)]
            if is_punct(hash, '#') && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group)
        }
        _ => None,
    };
    let text = attribute(at)?.stream().to_string().replace(' ', "");
    let of_tests = text == "test" || text.starts_with("cfg(test") || text == "tokio::test";
    let of_tests = of_tests || text.starts_with("cfg(any(test") || text.starts_with("cfg(all(test");
    if !of_tests {
        return None;
    }
    let mut at = at + 2;
    while attribute(at).is_some() {
        at += 2;
    }
    let mut ends_with_brace = true;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(word)
                if ["use", "const", "static", "let"].iter().any(|w| word == w) =>
            {
                ends_with_brace = false;
            }
            TokenTree::Ident(word) if word == "fn" => ends_with_brace = true,
            TokenTree::Group(group) if ends_with_brace && group.delimiter() == Delimiter::Brace => {
                break;
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            _ => {}
        }
    }
    Some(at)
}

/// Returns the `(crate)` of `pub(crate)`.
fn restriction(token: &TokenTree) -> Option<&Group> {
    let TokenTree::Group(group) = token else { return None };
    let first = group.stream().into_iter().next()?.to_string();
    let restricts = ["crate", "super", "self", "in"].contains(&first.as_str());
    (group.delimiter() == Delimiter::Parenthesis && restricts).then_some(group)
}

fn is_punct(token: &TokenTree, expected: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == expected)
}

fn is_word(token: &TokenTree, expected: &str) -> bool {
    matches!(token, TokenTree::Ident(word) if word == expected)
}

/// Returns the path `a::b::c` at `at`, and where it ends.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (Name, usize) {
    let mut path = vec![tokens[at].to_string()];
    at += 1;
    while let [first, second, TokenTree::Ident(next), ..] = &tokens[at..]
        && is_punct(first, ':')
        && is_punct(second, ':')
    {
        path.push(next.to_string());
        at += 3;
    }
    (path, at)
}

/// Adds the leaves of a `use`: a path, and the name under which it is known here.
fn tree(tokens: &[TokenTree], mut path: Name, leaves: &mut Vec<(Name, String)>) {
    let mut alias = None;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "as" => {
                alias = tokens.get(at + 1).map(ToString::to_string);
                at += 1;
            }
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == '*' => alias = Some("*".to_owned()),
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punct(token, ',')).filter(|p| !p.is_empty()) {
                    tree(part, path.clone(), leaves);
                }
                return;
            }
            _ => {}
        }
        at += 1;
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(name) = alias.or_else(|| path.last().cloned()) {
        leaves.push((path, name));
    }
}
