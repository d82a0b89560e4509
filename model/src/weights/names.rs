//! What the tensors in a pickle are called: the way from its root to each of them.

use super::error::quoted;
use super::pickle::{Id, Object, Pickle};
use std::collections::{HashMap, VecDeque};

/// How often an object is entered that several ways lead to. The dictionary of weights and that of their average
/// are one object where nothing was averaged; a pickle that doubles itself over and over is none of a checkpoint.
const MAX_WAYS: u8 = 4;

/// How many steps a way has at most.
const MAX_STEPS: usize = 32;

/// Longest key that is a part of a name.
const MAX_KEY: usize = 256;

/// Bytes of all names together.
const MAX_BYTES: usize = 8 << 20;

/// An object to be entered.
struct Visit {
    id: Id,
    name: String,
    steps: usize,
    /// Whether it holds the attributes of an object.
    state: bool,
}

/// Every tensor with its name, in the order of the file, and those near the root first: keys of dictionaries, indices
/// of lists and attributes of objects, joined by dots. What PyTorch's modules keep their parts in (`_modules`,
/// `_parameters`, `_buffers`) leaves no trace, so that a whole module has the names of its `state_dict()`.
pub(super) fn tensors(pickle: &Pickle) -> Result<Vec<(String, Id)>, String> {
    let mut walk = Walk {
        pickle,
        entered: vec![0; pickle.objects()],
        queue: VecDeque::new(),
        found: Vec::new(),
        places: HashMap::new(),
        bytes: 0,
    };
    walk.meet(pickle.root_id(), String::new(), 0, false)?;
    while let Some(visit) = walk.queue.pop_front() {
        walk.enter(&visit)?;
    }
    Ok(walk.found)
}

struct Walk<'a> {
    pickle: &'a Pickle,
    /// By object: how often.
    entered: Vec<u8>,
    queue: VecDeque<Visit>,
    found: Vec<(String, Id)>,
    /// Where in `found` a name is.
    places: HashMap<String, usize>,
    bytes: usize,
}

impl Walk<'_> {
    /// Puts an object down as a tensor, or to be entered later.
    fn meet(&mut self, id: Id, name: String, steps: usize, state: bool) -> Result<(), String> {
        let object = self.pickle.get(id);
        match object {
            Object::Tensor(_) | Object::Array(_) | Object::Unreadable(_) => {
                self.pay(2 * name.len())?;
                // In Python, too, the later of two values under one key is the one that stays.
                match self.places.get(&name) {
                    Some(&place) => self.found[place].1 = id,
                    None => {
                        self.places.insert(name.clone(), self.found.len());
                        self.found.push((name, id));
                    }
                }
            }
            Object::Dict(_) | Object::List(_) | Object::Tuple(_) | Object::Instance(_) => {
                let entered = &mut self.entered[id as usize];
                if *entered < MAX_WAYS && steps < MAX_STEPS {
                    *entered += 1;
                    self.pay(name.len())?;
                    self.queue.push_back(Visit { id, name, steps, state });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, visit: &Visit) -> Result<(), String> {
        match self.pickle.get(visit.id) {
            Object::Dict(pairs) => self.pairs(pairs, visit),
            Object::Instance(instance) => {
                self.pairs(&instance.items, visit)?;
                for &state in &instance.state {
                    self.meet(state, visit.name.clone(), visit.steps + 1, true)?;
                }
                Ok(())
            }
            Object::List(items) | Object::Tuple(items) => {
                for (index, &item) in items.iter().enumerate() {
                    if self.matters(item) {
                        self.meet(
                            item,
                            joined(&visit.name, &index.to_string()),
                            visit.steps + 1,
                            visit.state,
                        )?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn pairs(&mut self, pairs: &[(Id, Id)], visit: &Visit) -> Result<(), String> {
        for (place, &(key, value)) in pairs.iter().enumerate() {
            if !self.matters(value) {
                continue;
            }
            let name = match self.pickle.get(key) {
                Object::Str(key)
                    if visit.state && ["_modules", "_parameters", "_buffers"].contains(&&**key) =>
                {
                    visit.name.clone()
                }
                Object::Str(key) if key.len() <= MAX_KEY => joined(&visit.name, key),
                Object::Str(_) => continue,
                Object::Int(key) => joined(&visit.name, &key.to_string()),
                // A tuple, a member of an enumeration, ...: its place tells them apart.
                _ => joined(&visit.name, &format!("key{place}")),
            };
            self.meet(value, name, visit.steps + 1, false)?;
        }
        Ok(())
    }

    /// Whether an object is, or may contain, a tensor.
    fn matters(&self, id: Id) -> bool {
        use Object::{Array, Dict, Instance, List, Tensor, Tuple, Unreadable};
        let object = self.pickle.get(id);
        matches!(object, Array(_) | Dict(_) | Instance(_) | List(_) | Tensor(_) | Tuple(_) | Unreadable(_))
    }

    fn pay(&mut self, bytes: usize) -> Result<(), String> {
        // What keeps a name costs more than an empty one has.
        self.bytes += bytes + 16;
        if self.bytes > MAX_BYTES {
            return Err(format!("the names of its tensors have more than {MAX_BYTES} bytes"));
        }
        Ok(())
    }
}

fn joined(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

/// The keys at the top, for whoever looks for weights in vain.
pub(super) fn top(pickle: &Pickle) -> String {
    let keys: Vec<String> = pickle.entries(pickle.root()).take(8).map(|(key, _)| quoted(key)).collect();
    keys.join(", ")
}
