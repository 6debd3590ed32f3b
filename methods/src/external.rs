//! Outside programs as methods: `external: { command: […], params: {…} }`. The protocol and the process are those of the package
//! `adapters`; here are the method that a plan sees, and the quantizer that trials see.

mod program;

pub use program::{Abilities, Program};

use crate::registry::{Family, MethodEntry, Tries};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, TrainingRows};
use adapters::{AdapterError, Capability, Hello, Host, Identity, Outside, SHIPPED};
use schemars::Schema;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "external",
    family: Some(Family::Outside),
    summary: "Any program that answers the requests of docs/adapters.md",
    paper: "docs/adapters.md",
    rate: "the bytes of the codes that it returns",
    rate_params: &[],
    cost: "unknown",
    examples: &[r#"{"command": ["python3", "my_adapter.py"], "params": {"bits": 4}}"#],
    tries: Tries { params: &[], transforms: false },
    exempt: &[],
    schema,
    parse,
};

/// The key that holds who the program is. A plan writes it.
pub const IDENTITY: &str = "program";

fn schema() -> Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": {
            "command": {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "description": "The program and its arguments. Relative paths start from the folder of the experiment. `{scratch}` stands for the folder of arrays, which a container must see: put the container's command in front."
            },
            "params": {
                "type": "object",
                "description": "Parameters that the program reads. They may also stand beside `command`, where `sweep` puts them."
            },
            "files": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Further files that its results depend on. The files of `command` are known: when one of them changes, trials run again."
            },
            "program": {
                "type": "object",
                "description": "Name, version and files of the program. A plan fills it in."
            }
        },
        "required": ["command"]
    })
}

/// The registration of an adapter that is shipped, by its place in [`SHIPPED`].
pub const fn shipped<const AT: usize>() -> MethodEntry {
    let shipped = &SHIPPED[AT];
    MethodEntry {
        name: shipped.name,
        family: Some(Family::Outside),
        summary: shipped.summary,
        paper: "docs/adapters.md",
        rate: "the bytes of the codes that it returns",
        rate_params: &[],
        cost: "unknown",
        examples: shipped.examples,
        tries: Tries { params: &[], transforms: false },
        exempt: &[],
        schema: shipped.schema,
        parse: parse_shipped::<AT>,
    }
}

fn parse_shipped<const AT: usize>(params: Value) -> Result<Box<dyn Method>, ParamError> {
    let shipped = &SHIPPED[AT];
    let mut given = if params.is_null() { json!({}) } else { params };
    let identity = take_identity(given.as_object_mut())?;
    let params = match (shipped.parse)(given)? {
        Value::Object(params) => params,
        _ => Map::new(),
    };
    let (name, outside) = (shipped.name, Outside::Shipped(shipped));
    Ok(Box::new(External { name, outside, params, identity, beside: BTreeSet::new(), said: BTreeMap::new() }))
}

/// Takes out who the program is, where a plan has written it.
fn take_identity(params: Option<&mut Map<String, Value>>) -> Result<Option<Identity>, ParamError> {
    let identity = params.and_then(|params| params.remove(IDENTITY)).map(serde_json::from_value).transpose();
    identity.map_err(|error| ParamError::new(IDENTITY, error.to_string(), "leave it out; a plan fills it in"))
}

/// An outside program with its parameters.
#[derive(Clone, Debug)]
pub struct External {
    name: &'static str,
    /// The program.
    pub outside: Outside,
    /// What the program reads.
    pub params: Map<String, Value>,
    /// Who it is; None before a plan has asked.
    pub identity: Option<Identity>,
    /// The parameters that are written beside `params`.
    beside: BTreeSet<String>,
    /// What it said for vectors of some dimension: bytes of a code, or why it refuses.
    said: BTreeMap<usize, Result<Option<usize>, ParamError>>,
}

fn parse(params: Value) -> Result<Box<dyn Method>, ParamError> {
    let help = "write external: { command: [python3, my_adapter.py], params: { bits: 4 } }";
    let Value::Object(mut given) = params else {
        return Err(ParamError { param: None, message: "`external` needs a command".into(), help: Some(help.into()) });
    };
    let texts = |key: &str, value: Option<Value>| -> Result<Vec<String>, ParamError> {
        let wrong = || ParamError::new(key, format!("`{key}` must be a list of texts"), help);
        match value {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => {
                list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    };
    let command = texts("command", given.remove("command"))?;
    if command.first().is_none_or(String::is_empty) {
        return Err(ParamError {
            param: None,
            message: "the key `command` is missing".into(),
            help: Some(help.into()),
        });
    }
    let files = texts("files", given.remove("files"))?;
    let identity = take_identity(Some(&mut given))?;
    let mut params = match given.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(ParamError::new("params", "`params` must be a mapping", help)),
    };
    // All other keys are parameters too, so that these can be swept.
    let mut beside = BTreeSet::new();
    for (key, value) in given {
        beside.insert(key.clone());
        if params.insert(key.clone(), value).is_some() {
            let message = format!("`{key}` stands in `params` and beside it");
            return Err(ParamError::new(&key, message, "keep one of the two"));
        }
    }
    let (name, outside) = (ENTRY.name, Outside::Command { command, files });
    Ok(Box::new(External { name, outside, params, identity, beside, said: BTreeMap::new() }))
}

impl External {
    /// Asks the program who it is and what it says for vectors of these dimensions.
    ///
    /// # Errors
    /// It cannot be asked, or refuses its parameters for every dimension.
    fn asked(&self, host: &Host, dims: &[usize]) -> Result<External, ParamError> {
        let params = Value::Object(self.params.clone());
        let mut asked = self.clone();
        let mut hello: Option<Hello> = None;
        let mut refused = None;
        let dims = dims.iter().map(|dim| Some(*dim)).chain(dims.is_empty().then_some(None));
        for dim in dims {
            match host.hello(&self.outside, &params, dim) {
                Ok(said) => {
                    // Without codes, what it stores is not known before it is measured.
                    let code_bytes = said.code_bytes.filter(|_| said.can(Capability::Encode));
                    asked.said.extend(dim.map(|dim| (dim, Ok(code_bytes))));
                    hello = Some(said);
                }
                Err(error) => {
                    let stays = matches!(error, AdapterError::Refused { .. } | AdapterError::TooLong { .. });
                    let error = self.refusal(error);
                    asked.said.extend(dim.map(|dim| (dim, Err(error.clone()))));
                    refused = Some(error);
                    if !stays {
                        break;
                    }
                }
            }
        }
        match (hello, refused) {
            (Some(hello), _) => {
                let identity = host.identity(&self.outside, &hello);
                asked.identity = Some(identity.map_err(|error| self.refusal(error))?);
            }
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
        Ok(asked)
    }

    /// An error of the program as one of its parameters, which it names without knowing where it is written.
    fn refusal(&self, error: AdapterError) -> ParamError {
        match error {
            AdapterError::Refused { message, param, .. } => {
                let below = |param: String| match &self.outside {
                    Outside::Command { .. } if !self.beside.contains(&param) => format!("params/{param}"),
                    _ => param,
                };
                let param = param.filter(|param| self.params.contains_key(param)).map(below);
                ParamError { param, message: format!("the program refuses its parameters: {message}"), help: None }
            }
            error => {
                let by_hand = "run the command by hand to see what it says; docs/adapters.md tells what it must answer";
                let help = error.help().unwrap_or(by_hand).to_owned();
                let param = matches!(self.outside, Outside::Command { .. }).then(|| "command".into());
                ParamError { param, message: error.to_string(), help: Some(help) }
            }
        }
    }
}

impl Method for External {
    fn name(&self) -> &'static str {
        self.name
    }

    fn params(&self) -> Value {
        let mut params = match &self.outside {
            Outside::Command { command, files } if files.is_empty() => {
                json!({ "command": command, "params": self.params })
            }
            Outside::Command { command, files } => json!({ "command": command, "params": self.params, "files": files }),
            Outside::Shipped(_) => Value::Object(self.params.clone()),
        };
        if let Some(identity) = &self.identity {
            params[IDENTITY] = json!(identity);
        }
        params
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        match self.said.get(&dim) {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// What the program said of vectors of this dimension; 0 if it did not say.
    fn code_bits(&self, dim: usize) -> usize {
        match self.said.get(&dim) {
            Some(Ok(Some(bytes))) => 8 * bytes,
            _ => 0,
        }
    }

    fn fit_cost(&self, _n: usize, _dim: usize) -> f64 {
        0.0
    }

    fn encode_cost(&self, _dim: usize) -> f64 {
        0.0
    }

    fn is_program(&self) -> bool {
        true
    }

    fn identify(&self, programs: &Host, dims: &[usize]) -> Result<Option<Box<dyn Method>>, ParamError> {
        self.asked(programs, dims).map(|asked| Some(Box::new(asked) as Box<dyn Method>))
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let program = Program::fit(self, train, cx)?;
        Ok(Box::new(program))
    }

    fn restore(&self, _dim: usize, _state: &mut State, _cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let message = "an outside program keeps its model itself, so there is none to read".to_owned();
        Err(ModelError::Param(ParamError { param: None, message, help: None }))
    }
}
