//! The layer table of ARCHITECTURE.md is law: a module imports only modules of lower layers, and nothing below `io`
//! knows sockets, tokio or a clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module name to layer, as ARCHITECTURE.md has it: rows `| layer | module, module | … |`.
fn layers() -> BTreeMap<String, u8> {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let mut layers = BTreeMap::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = row.split('|').map(str::trim);
        let Some(Ok(layer)) = cells.next().map(str::parse::<u8>) else { continue };
        for module in cells.next().unwrap_or_default().split(',') {
            layers.insert(module.trim().trim_matches('`').to_owned(), layer);
        }
    }
    layers
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

/// The modules named by `crate::…` in a line, `crate::{a, b::c}` included.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn imports_go_only_down_the_layer_table() {
    let layers = layers();
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let module = path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if module == "lib" || module == "main" {
            continue;
        }
        let own = *layers.get(&module).unwrap_or_else(|| panic!("{module} is missing in ARCHITECTURE.md"));
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for import in imports(line).into_iter().filter(|import| *import != module) {
                match layers.get(&import) {
                    Some(other) if *other < own => {}
                    Some(_) => {
                        wrong.push(format!("{}:{}: `{module}` may not import `{import}`", path.display(), number + 1))
                    }
                    None => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_io_and_cli_know_sockets_clocks_and_tokio() {
    let forbidden = [
        "Instant::now(",
        "SystemTime::now(",
        "tokio::",
        "std::fs",
        "UdpSocket",
        "TcpStream",
        "std::thread",
        "std::env",
    ];
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        if ["io", "cli", "main.rs", "lib.rs"].iter().any(|outer| path.starts_with(Path::new("src").join(outer))) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let is_test_file = path.components().any(|part| part.as_os_str().to_string_lossy().contains("tests"));
        // a unit test may start its virtual time from the real clock
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in production.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in forbidden.iter().filter(|word| line.contains(**word) && !is_test_file) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_module_and_no_other() {
    let mut modules: Vec<String> = fs::read_dir("src")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".rs").to_owned())
        .filter(|name| name != "lib" && name != "main")
        .collect();
    modules.sort();
    let named: Vec<String> = layers().into_keys().collect();
    assert_eq!(modules, named);
}
