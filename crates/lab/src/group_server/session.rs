//! What each message of a client does. The order of the checks and the texts are Galène's.

use super::hall::{ClientKey, Fault, Hall};
use super::http;
use super::message::Message;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

impl Hall {
    pub(super) fn handle_message(&mut self, key: ClientKey, message: Message) -> Result<(), Fault> {
        let Some(client) = self.clients.get(&key) else { return Ok(()) };
        if !message.source.is_empty() && message.source != client.id {
            return Err(Fault::Protocol("spoofed client id"));
        }
        if message.kind_of != "join" && message.username.as_ref().is_some_and(|name| *name != client.username) {
            return Err(Fault::Protocol("spoofed username"));
        }
        let about_a_stream =
            matches!(message.kind_of.as_str(), "offer" | "answer" | "renegotiate" | "close" | "abort" | "ice");
        if about_a_stream && message.id.is_empty() {
            return Err(Fault::Protocol("empty id"));
        }
        match message.kind_of.as_str() {
            "join" => return self.handle_join(key, &message),
            "request" => return self.handle_request(key, message.request.as_ref()),
            "requestStream" => return self.handle_request_stream(key, &message),
            "offer" => self.handle_offer(key, message),
            "answer" => self.handle_answer(key, message),
            "renegotiate" => self.renegotiate(key, &message.id),
            "close" => {
                if !client.up.contains_key(&message.id) {
                    self.complaints.add(format!("close of an unknown stream: {}", message.id));
                }
                self.delete_up(key, &message.id, true);
            }
            "abort" => self.close_down(key, &message.id, ""),
            "ice" => match &message.candidate {
                None => return Err(Fault::Protocol("null candidate")),
                Some(candidate) => self.handle_candidate(key, &message.id, candidate),
            },
            "chat" | "usermessage" => self.handle_chat(key, message),
            "groupaction" => return self.handle_group_action(key, &message),
            "useraction" => return self.handle_user_action(key, &message),
            "ping" => self.write(key, Message::new("pong")),
            "pong" => {}
            _ => return Err(Fault::Protocol("unexpected message")),
        }
        Ok(())
    }

    fn handle_join(&mut self, key: ClientKey, message: &Message) -> Result<(), Fault> {
        let joined = self.clients.get(&key).and_then(|client| client.group.clone());
        match message.kind.as_str() {
            "leave" if joined.as_ref() != Some(&message.group) => Err(Fault::User("you are not joined")),
            "leave" => {
                self.leave(key, true);
                Ok(())
            }
            "join" if joined.is_some() => Err(Fault::Protocol("cannot join multiple groups")),
            "join" => self.join(key, message),
            _ => Err(Fault::Protocol("unknown kind")),
        }
    }

    fn handle_request(&mut self, key: ClientKey, request: Option<&Value>) -> Result<(), Fault> {
        let mut requested = HashMap::new();
        match request {
            None | Some(Value::Null) => {}
            Some(Value::Object(labels)) => {
                for (label, kinds) in labels {
                    requested.insert(label.clone(), strings(Some(kinds))?);
                }
            }
            Some(_) => return Err(Fault::Internal),
        }
        let Some(client) = self.clients.get_mut(&key).filter(|client| client.group.is_some()) else {
            return Err(Fault::Internal);
        };
        client.requested = requested;
        for owner in self.others(key) {
            self.push_all(owner, key, "");
        }
        Ok(())
    }

    fn handle_request_stream(&mut self, key: ClientKey, message: &Message) -> Result<(), Fault> {
        let requested = strings(message.request.as_ref())?;
        let down = self.clients.get_mut(&key).and_then(|client| client.down.get_mut(&message.id));
        let Some(down) = down else { return Err(Fault::Internal) };
        down.requested = Some(requested);
        let owner = down.owner;
        self.push_all(owner, key, &message.id);
        Ok(())
    }

    fn handle_chat(&mut self, key: ClientKey, message: Message) {
        let (Some(client), Some((group, _))) = (self.clients.get(&key), self.group_of(key)) else {
            return self.error(key, "join a group first");
        };
        let is_chat = message.kind_of == "chat";
        let required = if is_chat && message.kind == "caption" { "caption" } else { "message" };
        if !client.may(required) {
            return self.error(key, "not authorised");
        }
        self.serial += 1;
        let numbered = is_chat && message.dest.is_empty() && message.id.is_empty();
        let said = Message {
            id: if numbered { format!("chat-{}", self.serial) } else { message.id },
            source: message.source,
            dest: message.dest,
            username: message.username,
            privileged: client.may("op"),
            time: rfc3339_now(),
            kind: message.kind,
            no_echo: message.no_echo,
            value: message.value,
            ..Message::new(&message.kind_of)
        };
        if said.dest.is_empty() {
            if is_chat {
                let kept = Message { kind_of: "chathistory".into(), privileged: false, no_echo: false, ..said.clone() };
                self.remember(&group, kept);
            }
            for member in self.others(key) {
                self.write(member, said.clone());
            }
            if !said.no_echo {
                self.write(key, said);
            }
        } else {
            match self.member(key, &said.dest) {
                Some(dest) => self.write(dest, said),
                None => self.error(key, "user unknown"),
            }
        }
    }

    fn handle_group_action(&mut self, key: ClientKey, message: &Message) -> Result<(), Fault> {
        let (Some(client), Some((name, _))) = (self.clients.get(&key), self.group_of(key)) else {
            self.error(key, "join a group first");
            return Ok(());
        };
        let known = ["clearchat", "lock", "unlock", "setdata", "record", "unrecord", "subgroups"];
        if !known.contains(&message.kind.as_str()) {
            return Err(Fault::User("unknown group action"));
        }
        let required = if message.kind.ends_with("record") { "record" } else { "op" };
        if !client.may(required) {
            self.error(key, "not authorised");
            return Ok(());
        }
        let Some(group) = self.groups.get_mut(&name) else { return Ok(()) };
        let members = group.members.clone();
        match message.kind.as_str() {
            "clearchat" => {
                group.history.clear();
                let cleared = Message {
                    kind: "clearchat".into(),
                    privileged: true,
                    value: message.value.clone(),
                    ..Message::new("usermessage")
                };
                members.into_iter().for_each(|member| self.write(member, cleared.clone()));
                return Ok(());
            }
            "lock" => {
                let text = message.value.as_ref().and_then(Value::as_str).unwrap_or_default();
                group.locked = Some(text.to_owned());
            }
            "unlock" => group.locked = None,
            "setdata" => match &message.value {
                Some(Value::Object(data)) => merge(&mut group.data, data),
                _ => {
                    self.error(key, "Bad value in setdata");
                    return Ok(());
                }
            },
            // Recording and subgroups show a gateway nothing that it acts on.
            _ => return Ok(()),
        }
        members.into_iter().for_each(|member| self.joined(member, "change"));
        Ok(())
    }

    fn handle_user_action(&mut self, key: ClientKey, message: &Message) -> Result<(), Fault> {
        let (Some(client), Some(_)) = (self.clients.get(&key), self.group_of(key)) else {
            self.error(key, "join a group first");
            return Ok(());
        };
        let is_op = client.may("op");
        match message.kind.as_str() {
            "setdata" if message.dest != client.id => self.error(key, "not authorised"),
            "setdata" => match &message.value {
                Some(Value::Object(data)) => {
                    if let Some(client) = self.clients.get_mut(&key) {
                        merge(&mut client.data, data);
                    }
                    self.announce_change(key);
                }
                _ => self.error(key, "Bad value in setdata"),
            },
            "op" | "unop" | "present" | "unpresent" | "shutup" | "unshutup" | "kick" | "identify" if !is_op => {
                self.error(key, "not authorised");
            }
            "kick" => match self.member(key, &message.dest) {
                None => self.error(key, "no such user"),
                Some(dest) => {
                    let text = message.value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
                    let (by_id, by) = (message.source.clone(), message.username.clone());
                    self.expel(dest, Fault::Kicked { by_id, by, message: text });
                }
            },
            "op" | "unop" | "present" | "unpresent" | "shutup" | "unshutup" => {
                match self.member(key, &message.dest) {
                    // Galène's own spelling.
                    None => self.error(key, "no suck user"),
                    Some(dest) => self.change_permissions(dest, &message.kind),
                }
            }
            "identify" => {}
            _ => return Err(Fault::User("unknown user action")),
        }
        Ok(())
    }

    fn change_permissions(&mut self, key: ClientKey, kind: &str) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        let (add, permission) = match kind {
            "op" => (true, "op"),
            "unop" => (false, "op"),
            "present" => (true, "present"),
            "unpresent" => (false, "present"),
            "shutup" => (false, "message"),
            _ => (true, "message"),
        };
        client.permissions.retain(|have| add || have != permission);
        if add && !client.may(permission) {
            client.permissions.push(permission.to_owned());
        }
        let (username, permissions) = (client.username.clone(), client.permissions.clone());
        let Some((name, group)) = self.group_of(key) else { return };
        let members = Some((group.members.len(), group.locked.is_some()));
        let changed = Message {
            kind: "change".into(),
            group: name.clone(),
            username: Some(username),
            permissions: permissions.clone(),
            status: Some(http::status(&name, &group.description, None, members)),
            rtc_configuration: Some(json!({})),
            ..Message::new("joined")
        };
        self.write(key, changed);
        if !permissions.iter().any(|have| have == "present") {
            let streams: Vec<String> =
                self.clients.get(&key).map(|client| client.up.keys().cloned().collect()).unwrap_or_default();
            for id in streams {
                self.delete_up(key, &id, true);
                self.write(key, Message::about("abort", &id));
                self.error(key, "permission denied");
            }
        }
        self.announce_change(key);
    }

    fn announce_change(&self, key: ClientKey) {
        for member in self.others(key).into_iter().chain([key]) {
            self.introduce(member, key, "change");
        }
    }

    /// The member of the same group with the protocol id `id`.
    fn member(&self, key: ClientKey, id: &str) -> Option<ClientKey> {
        let (_, group) = self.group_of(key)?;
        group.members.iter().copied().find(|member| self.clients.get(member).is_some_and(|client| client.id == id))
    }
}

fn strings(value: Option<&Value>) -> Result<Vec<String>, Fault> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or(Fault::Internal)).collect()
        }
        Some(_) => Err(Fault::Internal),
    }
}

/// Sets the given keys; `null` deletes one.
fn merge(data: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, value) in changes {
        if value.is_null() {
            data.remove(key);
        } else {
            data.insert(key.clone(), value.clone());
        }
    }
}

/// The time of day in UTC as RFC 3339 writes it.
fn rfc3339_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days since 1970-01-01, with years that begin in March.
    let shifted = days + 719_468;
    let era_day = shifted % 146_097;
    let year_of_era = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = shifted / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
