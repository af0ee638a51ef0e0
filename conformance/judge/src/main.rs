//! `sockeye-judge [--rules FILE] [--json] [FILE…]`: judges histories of JSON lines, standard input if no file is named.
//! Several files are one history, merged by time. Status 0: no anomaly; 1: some; 2: not judged.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::ExitCode;

use sockeye_judge::{Judge, Merge, Rules, Verdict};

const USAGE: &str = "usage: sockeye-judge [--rules FILE] [--json] [FILE...]";

type Source = (String, Box<dyn BufRead>);

struct Arguments {
    rules: Rules,
    json: bool,
    files: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(verdict) if verdict.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("sockeye-judge: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Verdict, Box<dyn Error>> {
    let Arguments { mut rules, json, files } = arguments()?;
    rules.one_recorder &= files.len() <= 1;
    let verdict = judge(rules, open(files)?)?;
    if json {
        println!("{}", serde_json::to_string(&verdict)?);
    } else {
        println!("{verdict}");
    }
    Ok(verdict)
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments { rules: Rules::default(), json: false, files: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => arguments.json = true,
            "--rules" => {
                let name = words.next().ok_or(USAGE)?;
                let file = File::open(&name).map_err(|error| format!("{name}: {error}"))?;
                arguments.rules =
                    serde_json::from_reader(BufReader::new(file)).map_err(|error| format!("{name}: {error}"))?;
            }
            option if option.starts_with("--") => return Err(USAGE.into()),
            _ => arguments.files.push(word),
        }
    }
    Ok(arguments)
}

fn open(files: Vec<String>) -> Result<Vec<Source>, Box<dyn Error>> {
    if files.is_empty() {
        return Ok(vec![("standard input".to_owned(), Box::new(io::stdin().lock()))]);
    }
    let mut sources: Vec<Source> = Vec::new();
    for name in files {
        let file = File::open(&name).map_err(|error| format!("{name}: {error}"))?;
        sources.push((name, Box::new(BufReader::new(file))));
    }
    Ok(sources)
}

fn judge(rules: Rules, sources: Vec<Source>) -> Result<Verdict, Box<dyn Error>> {
    let mut judge = Judge::new(rules);
    for record in Merge::new(sources) {
        judge.see(&record?);
    }
    Ok(judge.finish())
}
