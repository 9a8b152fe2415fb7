"use strict";
// The monthly report. Every text from outside is set with textContent: nothing here reads markup.
(() => {
  // --- data ------------------------------------------------------------------------------------

  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const TEXTS = read("texts");
  const report = read("data");
  const { snapshot, pool, accounts, links } = report;
  const column = Object.fromEntries(report.columns.map((name, at) => [name, at]));
  const CLASSES = ["delete", "disable", "narrow", "review", "keep"]; // gravest first
  const STATUSES = ["never used", "idle", "unknown", "new", "used"];
  const DAY = 86_400_000;
  const TODAY = Math.floor(Date.parse(snapshot.as_of) / DAY); // days are counted to it

  const reason = ([shape, ...values]) => {
    const [code, ...names] = pool[shape];
    return { code, values: Object.fromEntries(names.map((name, at) => [name, values[at]])) };
  };
  const pairs = (flat) => flat.flatMap((key, at) => (at % 2 ? [] : [[pool[key], flat[at + 1]]]));

  /** One principal: what the table needs now, the rest when it is asked for. */
  class Principal {
    constructor(cells, number) {
      const cell = (name) => cells[column[name]];
      this.cells = cells;
      this.number = number;
      this.arn = pool[cell("arn_head")] + cell("arn_tail");
      this.name = cell("arn_tail").slice(cell("arn_tail").lastIndexOf("/") + 1);
      const account = cell("account");
      this.account =
        typeof account === "number"
          ? accounts[account]
          : { id: account, name: account, issues: [], unknown: [] };
      this.kind = pool[cell("kind")];
      this.class = pool[cell("class")];
      this.status = pool[cell("status")];
      this.isUnused = cell("is_unused") === 1; // what may be seasonal or is kept is not
      this.idle = cell("idle_days");
      this.owner = pool[cell("owner")];
      this.ownerIsDefault = cell("owner_is_default") === 1;
      this.usedOn = cell("last_use")[0];
      this.unusedServices = cell("unused_services");
      this.unusedActions = cell("unused_actions");
      this.change = snapshot.previous ? cell("change") : null; // in a first inventory nothing is new
      this.issueCodes = cell("issues").map(([shape]) => pool[shape][0]);
      this.rest = cell("rest");
      this.has = this.marks();
    }
    cell(name) {
      return this.cells[column[name]];
    }
    get reasons() {
      return this.cell("reasons").map(reason);
    }
    get issues() {
      return this.cell("issues").map(reason);
    }
    get changes() {
      return this.cell("changes").map((each) => pool[each]);
    }
    get tags() {
      const tags = this.cell("tags").map((each) => pool[each]);
      return tags.flatMap((key, at) => (at % 2 ? [] : [[key, tags[at + 1]]]));
    }
    get lastUse() {
      const [at, source, what, sources, unknown, since] = this.cell("last_use");
      return {
        at,
        source: pool[source],
        what: pool[what],
        sources: pairs(sources),
        unknown: unknown.map((each) => pool[each]),
        since,
      };
    }
    get commands() {
      // as pare/inventory/report_html.py has put them: \0 is the name
      return this.rest.commands?.map(([title, lines]) => [
        title,
        lines.map((line) => pool[line].replaceAll("\0", () => this.name)),
      ]);
    }
    get text() {
      // what the search looks through, made at the first search
      if (this.found === undefined) {
        const tags = this.cell("tags").map((each) => pool[each]);
        const all = [
          this.arn,
          this.cell("principal_id"),
          this.owner,
          this.account.id,
          this.account.name,
          this.account.alias || "",
        ];
        for (let at = 0; at < tags.length; at += 2) all.push(`${tags[at]}=${tags[at + 1]}`);
        this.found = folded(all.join("\n"));
      }
      return this.found;
    }
    marks() {
      const has = new Set(this.issueCodes);
      const { rest } = this;
      const use = this.cell("last_use");
      if (rest.plans) has.add("planned");
      if (rest.seasons) has.add("seasonal");
      if (rest.exemption) has.add("exempt");
      if (rest.wide)
        has.add(
          // a service-linked role is not ours to change, and not counted
          this.kind !== "service-linked role" && rest.wide.some((each) => each.is_administrator)
            ? "administrator"
            : "wide",
        );
      if (has.has("PUBLIC_TRUST") || has.has("FEDERATED_WITHOUT_SUBJECT")) has.add("public");
      if (pool[this.cell("trust")]?.outside.length) has.add("outside");
      if (rest.disabled_by) has.add("disabled");
      if (use[4].length || this.cell("unknown").length || this.unusedServices === null)
        has.add("unknown");
      if (this.unusedServices === null) has.add("services_unknown");
      if (this.ownerIsDefault) has.add("no_owner");
      return has;
    }
  }

  const folded = (text) => text.normalize("NFKC").toLowerCase();
  const principals = report.rows.map((cells, number) => new Principal(cells, number));
  const gone = report.gone.map((cells, number) => new Principal(cells, number));
  const byArn = new Map(principals.map((each) => [each.arn, each]));

  // --- words -----------------------------------------------------------------------------------

  const state = {
    language: report.language,
    theme: "auto",
    q: "",
    class: "",
    status: "",
    kind: "",
    account: "",
    owner: "",
    has: "",
    change: "",
    sort: "class",
    principal: "",
  };
  const BEGINNING = { ...state };
  const FILTERS = ["q", "class", "status", "kind", "account", "owner", "has", "change"];

  let numbers, collator, monthName;
  const setWords = () => {
    numbers = new Intl.NumberFormat(state.language);
    collator = new Intl.Collator(state.language, { numeric: true, sensitivity: "base" });
    monthName = new Intl.DateTimeFormat(state.language, {
      year: "numeric",
      month: "long",
      timeZone: "UTC",
    });
  };
  const PLACE = /\{([a-z_]+)(?:\|([^{}|]*)\|([^{}|]*)|\?([^{}|]*))?\}/g; // as pare/inventory/texts.py
  const hasText = (key) => Object.hasOwn(TEXTS[state.language], key);
  const T = (key, values = {}) => {
    if (!hasText(key)) return key;
    return TEXTS[state.language][key].replace(PLACE, (_, name, one, many, before) => {
      const value = values[name];
      const shown = typeof value === "number" ? numbers.format(value) : String(value ?? "");
      if (one !== undefined) return `${shown} ${value === 1 ? one : many}`;
      if (before !== undefined) return shown ? before + shown : "";
      return shown;
    });
  };
  const word = (group, value) => {
    const key = `${group}_${String(value).toLowerCase().replaceAll(" ", "_").replaceAll("-", "_")}`;
    return hasText(key) ? T(key) : String(value);
  };
  const sentence = ({ code, values }) => {
    // as reason_text in pare/inventory/texts.py
    if (!hasText(code))
      return `${code} ${Object.entries(values)
        .map((pair) => pair.join(": "))
        .join(", ")}`;
    const shown = { ...values };
    if (typeof values.how === "string") shown.how = word("how", values.how);
    for (const [name, group] of [
      ["source", "source"],
      ["sources", "source"],
      ["what", "what"],
    ])
      if (typeof values[name] === "string")
        shown[name] = values[name]
          .split(", ")
          .map((each) => word(group, each))
          .join(", ");
    if (values.what && String(values.what).startsWith(String(values.source)))
      Object.assign(shown, { source: shown.what, what: "" }); // "access key 2" says it all
    return T(code, shown);
  };
  const short = (code) =>
    hasText(`report_short_${code.toLowerCase()}`) ? T(`report_short_${code.toLowerCase()}`) : code;
  const date = (day) =>
    day === null || day === undefined ? "" : new Date(day * DAY).toISOString().slice(0, 10);
  const month = (period) => monthName.format(new Date(`${period}-01T00:00:00Z`));
  const count = (number) =>
    number === null || number === undefined ? T("word_unknown") : numbers.format(number);
  const signed = (number) =>
    number > 0 ? `+${numbers.format(number)}` : number < 0 ? `−${numbers.format(-number)}` : "±0";
  const yes = (value) => T(value === null ? "word_unknown" : value ? "word_yes" : "word_no");

  // --- elements --------------------------------------------------------------------------------

  const $ = (id) => document.getElementById(id);
  /** An element: attributes, "class", "on…" handlers; children are elements or texts. */
  const el = (name, attributes, ...children) =>
    filled(document.createElement(name), attributes, children);
  const svg = (name, attributes, ...children) =>
    filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  const filled = (element, attributes, children) => {
    for (const [key, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity))
      if (child !== null && child !== undefined) element.append(child);
    return element;
  };
  /** Text from outside, kept apart from the writing direction around it. */
  const outside = (text, attributes = {}) =>
    el(
      "span",
      { dir: "auto", ...attributes, class: `text ${attributes.class ?? ""}`.trim() },
      String(text),
    );
  const fill = (id, ...children) =>
    $(id).replaceChildren(...children.flat().filter((child) => child !== null));
  const badge = (group, value) =>
    el("span", { class: `badge badge-${value.replace(" ", "-")}` }, word(group, value));
  const linkButton = (label, run, attributes = {}) =>
    el("button", { type: "button", class: "link", onclick: run, ...attributes }, label);
  /** What is too wide for its place can be scrolled with the keyboard, too. */
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const isWide = target.scrollWidth > target.clientWidth;
      for (const [name, value] of [
        ["tabindex", "0"],
        ["role", "group"],
        ["aria-label", target.dataset.caption],
      ]) {
        if (isWide) target.setAttribute(name, value);
        else target.removeAttribute(name);
      }
    }
  });
  const watched = (element, caption) => {
    element.dataset.caption = caption;
    sizes.observe(element);
    return element;
  };
  const table = (caption, heads, rows, attributes = {}) =>
    watched(
      el(
        "div",
        { class: "scroll" },
        el(
          "table",
          attributes,
          el("caption", { class: "hidden" }, caption),
          el(
            "thead",
            null,
            el(
              "tr",
              null,
              heads.map((head) =>
                el("th", { scope: "col", class: head.number ? "number" : null }, head.text ?? head),
              ),
            ),
          ),
          el("tbody", null, rows),
        ),
      ),
      caption,
    );
  const row = (head, ...cells) => el("tr", null, el("th", { scope: "row" }, head), cells);
  const numberCell = (text) => el("td", { class: "number" }, text);
  const dayCell = (text) => el("td", { class: "day" }, text);
  const say = (text) => {
    $("said").textContent = text;
  };

  const copy = async (text, button) => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // such as a page from a disk in a browser that does not trust it
      const area = el("textarea", { readonly: true, class: "hidden", "aria-hidden": "true" });
      area.value = text;
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = T("report_copied");
    say(T("report_copied"));
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  };
  const copyButton = (text, label) =>
    el(
      "button",
      {
        type: "button",
        class: "copy",
        "aria-label": label ? `${T("report_copy")}: ${label}` : null,
        onclick: (event) => copy(text, event.currentTarget),
      },
      T("report_copy"),
    );
  const commandBlock = ([key, lines], account) =>
    el(
      "div",
      { class: "command" },
      el(
        "div",
        { class: "command-top" },
        el(
          "span",
          null,
          word("report_command", key),
          " ",
          el(
            "span",
            { class: "soft small" },
            T("report_command_in"),
            " ",
            el("b", { class: "mono" }, account.id),
            account.name === account.id ? null : [" ", outside(account.name)],
          ),
        ),
        copyButton(lines.join("\n"), word("report_command", key)),
      ),
      el(
        "pre",
        null,
        lines.map((line) => el("code", null, line)),
      ),
    );

  // --- filters ---------------------------------------------------------------------------------

  const UNUSED = "unused"; // a status of the page, as the count of unused_principals has it
  const MARKS = [
    "planned",
    "disabled",
    "seasonal",
    "exempt",
    "public",
    "outside",
    "administrator",
    "wide",
    "unknown",
    "services_unknown",
    "no_owner",
  ];
  const TESTS = {
    class: (each, value) => value.split(",").includes(each.class),
    status: (each, value) => (value === UNUSED ? each.isUnused : each.status === value),
    kind: (each, value) => each.kind === value,
    account: (each, value) => each.account.id === value,
    owner: (each, value) => each.owner === value,
    has: (each, value) => (value === "issues" ? each.issueCodes.length > 0 : each.has.has(value)),
    change: (each, value) =>
      value.startsWith("in:") ? each.changes.includes(value.slice(3)) : each.change === value,
  };
  const KEYS = {
    name: (each) => each.name,
    account: (each) => each.account.name,
    owner: (each) => each.owner,
    class: (each) => CLASSES.indexOf(each.class) * 1e6 - (each.idle ?? 1e5),
    use: (each) => each.idle,
    issues: (each) => each.issueCodes.length,
    unused: (each) => each.unusedServices,
    change: (each) => ["new", "changed", "same"].indexOf(each.change),
  };
  let shown = []; // the principals that pass the filters, sorted

  const filtered = () => {
    const words = folded(state.q).split(/\s+/).filter(Boolean);
    const tests = Object.keys(TESTS).filter((name) => state[name]);
    return principals.filter(
      (each) =>
        tests.every((name) => TESTS[name](each, state[name])) &&
        words.every((part) => each.text.includes(part)),
    );
  };
  const sorted = (found) => {
    const falling = state.sort.startsWith("-");
    const name = falling ? state.sort.slice(1) : state.sort;
    const key = Object.hasOwn(KEYS, name) ? KEYS[name] : KEYS.class;
    const keyed = found.map((each) => [key(each), each]);
    keyed.sort(([one, a], [other, b]) => {
      if (one === null || other === null) {
        // what is unknown comes last, whichever way
        if (one !== other) return one === null ? 1 : -1;
        return a.number - b.number;
      }
      const order = typeof one === "string" ? collator.compare(one, other) : one - other;
      return (falling ? -order : order) || a.number - b.number;
    });
    return keyed.map(([, each]) => each);
  };

  /** Change the state, show what follows from it, and keep it in the address. */
  const change = (changes, { jump = false } = {}) => {
    Object.assign(state, changes);
    showPrincipals();
    keepState();
    if (jump) {
      $("principals").scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
      $("grid-body").querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
    }
  };
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const only = (filter) =>
    change({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), ...filter }, { jump: true });
  const isOnly = (filter) => FILTERS.every((name) => state[name] === (filter[name] ?? ""));

  // --- the address -----------------------------------------------------------------------------

  let waiting = 0;
  const address = () => {
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(state))
      if (value !== BEGINNING[name]) kept.set(name, value);
    const text = kept.toString();
    return text ? `#${text}` : "#";
  };
  const keepState = () => {
    // browsers allow few changes a second
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState(null, "", address()), 200);
  };
  const readState = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of Object.keys(state)) state[name] = given.get(name) ?? BEGINNING[name];
    if (!Object.hasOwn(TEXTS, state.language)) state.language = report.language;
    if (!["auto", "light", "dark"].includes(state.theme)) state.theme = "auto";
  };

  // --- headline --------------------------------------------------------------------------------

  const before = snapshot.previous
    ? snapshot.trend.findLast((each) => each.period === snapshot.previous)
    : undefined;
  const rootAccounts = accounts.filter((account) => account.issues.length);
  const unknownAccounts = accounts.filter((account) => account.error);
  const goTo = (id) => {
    $(id).scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
    const heading = $(`${id}-title`);
    heading.setAttribute("tabindex", "-1");
    heading.focus({ preventScroll: true });
  };

  const tile = (label, value, { delta, filter, section, warn } = {}) => {
    const isFilter = Boolean(filter && Object.keys(filter).length);
    return el(
      "li",
      null,
      el(
        "button",
        {
          type: "button",
          class: `tile${warn && value ? " warn" : ""}`,
          "aria-pressed": isFilter ? String(isOnly(filter)) : null,
          "data-filter": isFilter ? JSON.stringify(filter) : null,
          onclick: () => (filter ? only(filter) : goTo(section)),
        },
        el("b", null, count(value)),
        el("span", null, label),
        el(
          "span",
          { class: "delta" },
          delta === undefined || !before
            ? ""
            : T("report_delta", { delta: signed(delta), previous: month(snapshot.previous) }),
        ),
      ),
    );
  };

  const showNumbers = () => {
    const { counts } = snapshot;
    // undefined where a month has no such count
    const since = (name) => {
      const difference = before ? counts[name] - before.counts[name] : undefined;
      return Number.isNaN(difference) ? undefined : difference;
    };
    // keys are counted, and users are listed: how many they are is known where all are in the page
    const oldKeys = Object.keys(report.left_out).length
      ? T("count_old_access_keys")
      : T("report_tile_old_keys_of", {
          users: principals.filter((each) => each.has.has("KEY_OLD")).length,
        });
    const openRoles =
      counts.public_trusts ?? principals.filter((each) => each.has.has("public")).length;
    const previous = snapshot.previous ? month(snapshot.previous) : "";
    fill(
      "tiles",
      tile(T("report_tile_principals"), counts.principals, {
        delta: since("principals"),
        filter: {},
      }),
      tile(T("report_tile_accounts"), snapshot.account_count, {
        delta: before ? snapshot.account_count - before.accounts : undefined,
        section: "accounts",
      }),
      tile(T("report_tile_unknown_accounts"), snapshot.unknown_account_count, {
        delta: before ? snapshot.unknown_account_count - before.unknown_accounts : undefined,
        section: "unknown",
        warn: true,
      }),
      tile(T("report_tile_public"), openRoles, {
        delta: since("public_trusts"),
        filter: { has: "public" },
        warn: true,
      }),
      tile(T("report_tile_outside"), counts.trusts_outside, {
        delta: since("trusts_outside"),
        filter: { has: "outside" },
      }),
      previous
        ? tile(T("report_tile_new", { previous }), counts.new, { filter: { change: "new" } })
        : null,
      previous
        ? tile(T("report_tile_gone", { previous }), counts.gone, { section: "changes" })
        : null,
      tile(T("report_tile_unused"), counts.unused_principals, {
        delta: since("unused_principals"),
        filter: { status: UNUSED },
      }),
      tile(oldKeys, counts.old_access_keys, {
        delta: since("old_access_keys"),
        filter: { has: "KEY_OLD" },
      }),
      tile(T("report_tile_no_mfa"), counts.users_without_mfa, {
        delta: since("users_without_mfa"),
        filter: { has: "NO_MFA" },
      }),
      tile(T("report_tile_root"), rootAccounts.length, { section: "accounts", warn: true }),
      tile(T("report_tile_administrators"), counts.administrators, {
        delta: since("administrators"),
        filter: { has: "administrator" },
      }),
    );
    const total = CLASSES.reduce((sum, name) => sum + counts[`class_${name}`], 0);
    const stack = el("div", { class: "stack", "aria-hidden": "true" });
    for (const name of CLASSES) {
      const number = counts[`class_${name}`];
      if (!number) continue;
      const part = el("span", { class: `fill-${name}` });
      part.style.flexGrow = String(number / total);
      stack.append(part);
    }
    fill(
      "classes",
      stack,
      el(
        "div",
        { class: "legend" },
        CLASSES.map((name) =>
          el(
            "button",
            {
              type: "button",
              "aria-pressed": String(isOnly({ class: name })),
              "data-filter": JSON.stringify({ class: name }),
              title: T(`class_${name}_about`),
              onclick: () => only({ class: name }),
            },
            el("span", { class: `dot fill-${name}`, "aria-hidden": "true" }),
            word("class", name),
            el("b", null, count(counts[`class_${name}`])),
          ),
        ),
      ),
    );
  };

  const showNotices = () => {
    const left = CLASSES.filter((name) => report.left_out[name]);
    const notices = [];
    if (left.length) {
      const total = left.reduce((sum, name) => sum + report.left_out[name], 0);
      notices.push(
        el(
          "p",
          { class: "notice", id: "left-out" },
          T("report_left_out", {
            total,
            classes: left
              .map((name) => `${word("class", name)} ${count(report.left_out[name])}`)
              .join(", "),
          }),
          " ",
          csvLink(),
        ),
      );
    }
    if (snapshot.previous && !snapshot.comparable)
      notices.push(
        el(
          "p",
          { class: "notice" },
          T("report_not_comparable", { previous: month(snapshot.previous) }),
        ),
      );
    fill("notices", notices);
  };
  const csvLink = () =>
    links.csv
      ? el("a", { href: links.csv }, T("report_csv_beside"))
      : el("span", null, T("report_csv_beside"));

  // --- what nobody knows -----------------------------------------------------------------------

  const showUnknown = () => {
    const partly = accounts.filter((account) => !account.error && account.unknown.length);
    const unsure = principals.filter((each) => each.status === "unknown").length;
    $("unknown").hidden =
      !unknownAccounts.length &&
      !partly.length &&
      !unsure &&
      !snapshot.counts.last_accessed_unknown;
    const body = [];
    if (unknownAccounts.length)
      body.push(
        el(
          "p",
          { class: "notice" },
          T("report_unknown_accounts_lead", { accounts: unknownAccounts.length }),
        ),
        el(
          "ul",
          { class: "plain items", "aria-label": T("report_unknown_accounts") },
          unknownAccounts.map((account) =>
            el(
              "li",
              null,
              el(
                "div",
                null,
                el("b", null, outside(account.name)),
                el("div", { class: "small soft mono" }, account.id),
              ),
              el(
                "div",
                null,
                el("b", null, account.error),
                account.message ? [": ", outside(account.message)] : null,
              ),
              el(
                "div",
                { class: "soft" },
                T("report_last_known", {
                  month: account.known ? month(account.known) : T("word_never"),
                }),
              ),
            ),
          ),
        ),
      );
    if (partly.length)
      body.push(
        el("h3", null, T("report_partly_unknown")),
        el(
          "ul",
          { class: "plain" },
          partly.map((account) =>
            el(
              "li",
              null,
              outside(account.name),
              " ",
              el("span", { class: "soft mono" }, account.id),
              ": ",
              outside(account.unknown.map((each) => word("source", each)).join(", ")),
            ),
          ),
        ),
      );
    const asks = [];
    if (unsure)
      asks.push(
        el(
          "li",
          null,
          linkButton(T("report_use_unknown", { principals: unsure }), () =>
            only({ status: "unknown" }),
          ),
        ),
      );
    if (snapshot.counts.last_accessed_unknown)
      asks.push(
        el(
          "li",
          null,
          linkButton(
            T("report_services_unknown", { principals: snapshot.counts.last_accessed_unknown }),
            () => only({ has: "services_unknown" }),
          ),
        ),
      );
    if (asks.length) body.push(el("ul", { class: "plain" }, asks));
    fill("unknown-body", body);
  };

  // --- what changed ----------------------------------------------------------------------------

  const COMPARED = [
    "principals",
    "class_delete",
    "class_disable",
    "class_narrow",
    "class_review",
    "unused_principals",
    "status_unknown",
    "old_access_keys",
    "idle_access_keys",
    "users_without_mfa",
    "administrators",
    "public_trusts",
    "trusts_outside",
    "without_owner",
    "planned",
  ];
  const showChanges = () => {
    if (!snapshot.previous)
      return fill("changes-body", el("p", { class: "soft" }, T("report_first_inventory")));
    const body = [];
    const changed = new Map();
    for (const each of principals)
      for (const name of each.changes) changed.set(name, (changed.get(name) ?? 0) + 1);
    const facts = [
      el(
        "li",
        null,
        linkButton(
          T("report_n_new", {
            principals: snapshot.counts.new,
            previous: month(snapshot.previous),
          }),
          () => only({ change: "new" }),
        ),
      ),
      el(
        "li",
        null,
        linkButton(T("report_n_changed", { principals: snapshot.counts.changed }), () =>
          only({ change: "changed" }),
        ),
        el(
          "div",
          { class: "small" },
          [...changed]
            .sort((one, other) => other[1] - one[1])
            .flatMap(([name, number], at) => [
              at ? " · " : null,
              linkButton(`${memberName(name)} ${count(number)}`, () =>
                only({ change: `in:${name}` }),
              ),
            ]),
        ),
      ),
    ];
    const goneCount = snapshot.counts.gone;
    facts.push(
      el(
        "li",
        null,
        gone.length
          ? el(
              "details",
              null,
              el("summary", null, T("report_n_gone", { principals: goneCount })),
              el(
                "div",
                { class: "inside" },
                el(
                  "ul",
                  { class: "plain" },
                  gone
                    .slice(0, 200)
                    .map((each) =>
                      el(
                        "li",
                        null,
                        outside(each.arn, { class: "mono" }),
                        el(
                          "div",
                          { class: "small soft" },
                          outside(each.account.name),
                          " · ",
                          outside(each.owner),
                          " · ",
                          T("report_was", { class: word("class", each.class) }),
                        ),
                      ),
                    ),
                ),
                goneCount > Math.min(gone.length, 200)
                  ? el(
                      "p",
                      { class: "small soft" },
                      T("report_and_more", { more: goneCount - Math.min(gone.length, 200) }),
                    )
                  : null,
              ),
            )
          : T("report_n_gone", { principals: goneCount }),
      ),
    );
    body.push(el("ul", { class: "plain" }, facts));
    if (before) {
      const rows = COMPARED.filter((name) => snapshot.counts[name] || before.counts[name]).map(
        (name) => {
          const difference = snapshot.counts[name] - before.counts[name]; // NaN: not counted then
          return row(
            T(`count_${name}`),
            numberCell(count(before.counts[name])),
            numberCell(count(snapshot.counts[name])),
            el(
              "td",
              { class: "number" },
              Number.isNaN(difference)
                ? ""
                : difference
                  ? el("b", null, signed(difference))
                  : el("span", { class: "soft" }, signed(0)),
            ),
          );
        },
      );
      body.push(
        table(
          T("report_against", { previous: month(snapshot.previous) }),
          [
            T("report_what"),
            { text: snapshot.previous, number: true },
            { text: snapshot.period, number: true },
            { text: T("report_difference"), number: true },
          ],
          rows,
        ),
      );
    }
    return fill("changes-body", body);
  };
  const memberName = (name) => word("report_member", name);
  const changeName = (change) =>
    change === "new"
      ? T("report_new_since", { previous: month(snapshot.previous) })
      : word("change", change);

  // --- trend -----------------------------------------------------------------------------------

  const isOther = (each) => each.definition_version !== snapshot.definition_version;
  const TREND = [
    ["unused_principals", (each) => each.counts.unused_principals],
    ["old_access_keys", (each) => each.counts.old_access_keys],
    ["idle_access_keys", (each) => each.counts.idle_access_keys],
    ["users_without_mfa", (each) => each.counts.users_without_mfa],
    ["administrators", (each) => each.counts.administrators],
    ["unknown_accounts", (each) => each.unknown_accounts],
  ];
  const trendLabel = (name) =>
    name === "unknown_accounts" ? T("report_tile_unknown_accounts") : T(`count_${name}`);

  /** The end of an axis: round, and half of it is a whole number. */
  const niceTop = (highest) => {
    const power = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(highest, 4))));
    return [1, 1.5, 2, 3, 4, 5, 6, 8, 10]
      .map((step) => step * power)
      .find((top) => top >= Math.max(highest, 4) && top % 2 === 0);
  };
  const classPlot = (months, width) => {
    const height = 230;
    const left = 44;
    const bottom = 22;
    const top = 8;
    const highest = Math.max(
      ...months.map((each) => CLASSES.reduce((sum, name) => sum + each.counts[`class_${name}`], 0)),
      1,
    );
    const scale = niceTop(highest);
    const step = (width - left) / Math.max(months.length, 6);
    const y = (value) => top + (height - top - bottom) * (1 - value / scale);
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": T("report_class_plot", { months: months.length }),
    });
    for (const value of [0, scale / 2, scale])
      picture.append(
        svg("line", { class: "axis", x1: left, x2: width, y1: y(value), y2: y(value) }),
        svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, numbers.format(value)),
      );
    const every = Math.max(1, Math.ceil(46 / step));
    months.forEach((each, at) => {
      let reached = 0;
      const group = svg(
        "g",
        null,
        svg(
          "title",
          null,
          `${month(each.period)}: ${CLASSES.map((name) => `${word("class", name)} ${count(each.counts[`class_${name}`])}`).join(", ")}`,
        ),
      );
      const wide = Math.max(2, Math.min(step * 0.72, 34));
      const x = left + step * (at + 0.5) - wide / 2;
      for (const name of CLASSES) {
        // gravest at the bottom, where they can be compared
        const number = each.counts[`class_${name}`];
        if (!number) continue;
        group.append(
          svg("rect", {
            class: `fill-${name}`,
            x,
            width: wide,
            y: y(reached + number),
            height: Math.max(0.5, y(reached) - y(reached + number)),
          }),
        );
        reached += number;
      }
      if ((months.length - 1 - at) % every === 0)
        group.append(
          svg(
            "text",
            { x: left + step * (at + 0.5), y: height - 6, "text-anchor": "middle" },
            each.period.slice(2),
          ),
        );
      picture.append(group);
      if (at && each.definition_version !== months[at - 1].definition_version)
        picture.append(
          svg(
            "line",
            {
              class: "other",
              x1: left + step * at,
              x2: left + step * at,
              y1: top,
              y2: height - bottom,
            },
            svg("title", null, T("report_definition_changed")),
          ),
        );
    });
    return picture;
  };
  const linePlot = (months, value) => {
    const width = 220;
    const height = 64;
    const top = 6;
    const bottom = 4;
    const values = months.map(value);
    const scale = Math.max(...values, 1);
    const x = (at) =>
      months.length > 1 ? 4 + ((width - 8) * at) / (months.length - 1) : width / 2;
    const y = (number) => top + (height - top - bottom) * (1 - number / scale);
    const points = values.map((number, at) => `${x(at).toFixed(1)},${y(number).toFixed(1)}`);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    if (values.length > 1)
      picture.append(
        svg("path", {
          class: "area",
          d: `M${points[0]} L${points.join(" L")} L${x(values.length - 1)},${y(0)} L${x(0)},${y(0)} Z`,
        }),
      );
    picture.append(svg("line", { class: "axis", x1: 0, x2: width, y1: y(0), y2: y(0) }));
    months.forEach((each, at) => {
      if (at && each.definition_version !== months[at - 1].definition_version)
        picture.append(
          svg("line", {
            class: "other",
            x1: (x(at) + x(at - 1)) / 2,
            x2: (x(at) + x(at - 1)) / 2,
            y1: 0,
            y2: y(0),
          }),
        );
    });
    if (values.length > 1)
      picture.append(svg("path", { class: "line", d: `M${points.join(" L")}` }));
    months.forEach((each, at) => {
      // a month with unknown accounts counts less than there is
      if (each.unknown_accounts)
        picture.append(svg("circle", { class: "hollow", cx: x(at), cy: y(values[at]), r: 3 }));
    });
    picture.append(
      svg("circle", {
        class: months.at(-1).unknown_accounts ? "hollow" : "point",
        cx: x(values.length - 1),
        cy: y(values.at(-1)),
        r: 3.5,
      }),
    );
    return picture;
  };
  const showTrend = () => {
    const months = snapshot.trend;
    if (!months.length) return fill("trend-body", el("p", { class: "soft" }, T("report_no_trend")));
    const width = Math.max(280, $("trend-body").clientWidth || 640);
    const body = [
      el(
        "figure",
        null,
        classPlot(months, width),
        el(
          "figcaption",
          { class: "legend" },
          CLASSES.map((name) =>
            el(
              "span",
              { class: "small" },
              el("span", { class: `dot fill-${name}`, "aria-hidden": "true" }),
              " ",
              word("class", name),
            ),
          ),
        ),
      ),
    ];
    body.push(
      el(
        "div",
        { class: "plots" },
        TREND.map(([name, value]) => {
          const last = value(months.at(-1));
          return el(
            "figure",
            { "data-plot": name },
            el("figcaption", null, el("span", null, trendLabel(name)), el("b", null, count(last))),
            linePlot(months, value),
          );
        }),
      ),
    );
    const notes = [];
    if (months.some(isOther)) notes.push(T("report_definition_note"));
    if (months.some((each) => each.unknown_accounts)) notes.push(T("report_hollow_note"));
    if (notes.length) body.push(el("p", { class: "small soft" }, notes.join(" ")));
    const names = ["principals", ...CLASSES.map((name) => `class_${name}`)];
    body.push(
      el(
        "details",
        { id: "trend-table" },
        el("summary", null, T("report_as_table")),
        el(
          "div",
          { class: "inside" },
          table(
            T("report_trend"),
            [
              T("report_month"),
              ...names.map((name) => ({ text: T(`count_${name}`), number: true })),
              ...TREND.map(([name]) => ({ text: trendLabel(name), number: true })),
              T("report_definition"),
            ],
            months.toReversed().map((each) =>
              row(
                each.period,
                names.map((name) => numberCell(count(each.counts[name]))),
                TREND.map(([, value]) => numberCell(count(value(each)))),
                el(
                  "td",
                  null,
                  String(each.definition_version),
                  isOther(each) ? ` (${T("report_other_definition")})` : "",
                ),
              ),
            ),
          ),
        ),
      ),
    );
    return fill("trend-body", body);
  };

  // --- planned dates ---------------------------------------------------------------------------

  const nextDate = (plan) => plan.delete_on ?? plan.disable_on;
  const isDue = (plan) => nextDate(plan) <= snapshot.as_of.slice(0, 10);
  const planText = (plan) =>
    plan.delete_on
      ? T("plan_delete", {
          what: word("what", plan.what),
          delete_on: plan.delete_on,
          disabled_on: plan.disabled_on,
        })
      : T("plan_disable", { what: word("what", plan.what), disable_on: plan.disable_on });
  const OWNERS_FIRST = 12;
  const PLANS_FIRST = 50;
  let ownersShown = OWNERS_FIRST;
  const showPlans = () => {
    const byOwner = new Map();
    for (const each of principals)
      for (const plan of each.rest.plans ?? []) {
        if (!byOwner.has(each.owner)) byOwner.set(each.owner, []);
        byOwner.get(each.owner).push([plan, each]);
      }
    if (!byOwner.size) return fill("plans-body", el("p", { class: "soft" }, T("report_no_plans")));
    for (const plans of byOwner.values())
      plans.sort(
        ([one, a], [other, b]) =>
          nextDate(one).localeCompare(nextDate(other)) || a.number - b.number,
      );
    const owners = [...byOwner].sort(
      ([one, [a]], [other, [b]]) =>
        nextDate(a[0]).localeCompare(nextDate(b[0])) || collator.compare(one, other),
    );
    const body = owners.slice(0, ownersShown).map(([owner, plans]) => {
      const inside = el("div", { class: "inside" });
      const block = el(
        "details",
        { "data-owner": owner },
        el(
          "summary",
          null,
          el(
            "span",
            { class: "grow" },
            el("b", null, outside(owner)),
            el(
              "span",
              { class: "soft" },
              T("report_plans_of_owner", { plans: plans.length, next: nextDate(plans[0][0]) }),
            ),
            isDue(plans[0][0])
              ? el("span", { class: "badge badge-disable" }, T("report_due"))
              : null,
          ),
        ),
        inside,
      );
      block.addEventListener("toggle", () => {
        if (block.open && !inside.firstChild) inside.append(...plansOf(owner, plans));
      });
      return block;
    });
    if (owners.length > ownersShown)
      body.push(
        el(
          "p",
          { class: "more" },
          el(
            "button",
            {
              type: "button",
              onclick: () => {
                ownersShown = Infinity;
                showPlans();
              },
            },
            T("report_all_owners", { owners: owners.length }),
          ),
        ),
      );
    return fill("plans-body", body);
  };
  const plansOf = (owner, plans) => {
    const blocks = [
      el(
        "ul",
        { class: "plain items" },
        plans.slice(0, PLANS_FIRST).map(([plan, each]) =>
          el(
            "li",
            null,
            el(
              "div",
              null,
              linkButton(outside(each.name), () => openDetail(each)),
              el(
                "div",
                { class: "small soft" },
                outside(each.account.name),
                " · ",
                word("kind", each.kind),
              ),
            ),
            el(
              "div",
              null,
              planText(plan),
              isDue(plan)
                ? [" ", el("span", { class: "badge badge-disable" }, T("report_due"))]
                : null,
              el(
                "div",
                { class: "small soft" },
                T("report_times_announced", {
                  times: plan.times_announced,
                  since: plan.announced_on,
                }),
              ),
            ),
            el(
              "div",
              null,
              each.commands
                ? el(
                    "details",
                    null,
                    el("summary", null, T("report_show_commands")),
                    each.commands.map((block) => commandBlock(block, each.account)),
                  )
                : el("span", { class: "soft" }, T("report_no_commands")),
            ),
          ),
        ),
      ),
    ];
    if (plans.length > PLANS_FIRST)
      blocks.push(
        el(
          "p",
          { class: "small soft" },
          T("report_and_more", { more: plans.length - PLANS_FIRST }),
        ),
      );
    blocks.push(
      el(
        "p",
        { class: "more" },
        linkButton(T("report_show_in_table"), () => only({ owner, has: "planned" })),
      ),
    );
    return blocks;
  };

  // --- accounts --------------------------------------------------------------------------------

  const ACCOUNTS_FIRST = 10;
  let accountsShown = ACCOUNTS_FIRST;
  const showAccounts = () => {
    const grave = (account) => (account.error ? 2 : 0) + (account.issues.length ? 1 : 0);
    const order = accounts.toSorted(
      (one, other) =>
        grave(other) - grave(one) ||
        other.principals - one.principals ||
        one.id.localeCompare(other.id),
    );
    const number = (account, name) =>
      numberCell(account.error ? T("word_unknown") : count(account.counts[name] ?? 0));
    const body = [
      table(
        T("report_accounts"),
        [
          T("report_account"),
          { text: T("report_principals"), number: true },
          { text: T("report_tile_unused"), number: true },
          { text: word("class", "delete"), number: true },
          { text: word("class", "disable"), number: true },
          T("report_root_user"),
        ],
        order.slice(0, accountsShown).map((account) =>
          row(
            [
              account.error
                ? outside(account.name)
                : linkButton(outside(account.name), () => only({ account: account.id })),
              el("div", { class: "small soft mono" }, account.id),
            ],
            numberCell(account.error ? T("word_unknown") : count(account.principals)),
            number(account, "unused_principals"),
            number(account, "class_delete"),
            number(account, "class_disable"),
            el(
              "td",
              null,
              account.error
                ? badge("status", "unknown")
                : account.issues.length
                  ? el(
                      "ul",
                      { class: "plain" },
                      account.issues.map((issue) => el("li", null, sentence(issue))),
                    )
                  : !account.root_is_known
                    ? badge("status", "unknown")
                    : el("span", { class: "soft" }, T("report_root_fine")),
            ),
          ),
        ),
      ),
    ];
    if (accounts.length > accountsShown)
      body.push(
        el(
          "p",
          { class: "more" },
          el(
            "button",
            {
              type: "button",
              onclick: () => {
                accountsShown = Infinity;
                showAccounts();
              },
            },
            T("report_all_accounts", { accounts: accounts.length }),
          ),
        ),
      );
    fill("accounts-body", body);
  };

  // --- the table of principals -----------------------------------------------------------------

  const COLUMNS = [
    { name: "name", text: () => T("report_principal") },
    { name: "account", text: () => T("report_account") },
    { name: "class", text: () => T("report_class") },
    { name: "use", text: () => T("report_last_use") },
    { name: "owner", text: () => T("report_owner") },
    { name: "issues", text: () => T("report_issues") },
    { name: "unused", text: () => T("report_unused_services"), number: true },
    { name: "change", text: () => T("report_change") },
  ];
  const showHead = () => {
    const falling = state.sort.startsWith("-");
    const name = falling ? state.sort.slice(1) : state.sort;
    fill(
      "grid-head",
      COLUMNS.map((each, at) =>
        el(
          "div",
          {
            role: "columnheader",
            class: `cell c-${each.name}${each.number ? " number" : ""}`,
            "aria-colindex": at + 1,
            "aria-sort": each.name !== name ? "none" : falling ? "descending" : "ascending",
          },
          el(
            "button",
            {
              type: "button",
              "data-sort": each.name,
              onclick: () => {
                change({ sort: name === each.name && !falling ? `-${each.name}` : each.name });
                $("grid-head").querySelector(`[data-sort="${each.name}"]`).focus();
              },
            },
            each.text(),
            el("span", { "aria-hidden": "true" }, each.name !== name ? "" : falling ? " ↓" : " ↑"),
          ),
        ),
      ),
    );
  };
  const useText = (each) => {
    if (each.status === "unknown") return T("report_use_not_known");
    if (each.usedOn === null) return word("status", each.status);
    return each.idle === null
      ? date(each.usedOn)
      : T("report_days_ago", { days: TODAY - each.usedOn });
  };
  const cell = (name, at, ...children) =>
    el(
      "div",
      { role: at ? "gridcell" : "rowheader", class: `cell c-${name}`, "aria-colindex": at + 1 },
      children,
    );
  const gridRow = (each, at) => {
    const { lastUse } = each;
    const issues = [...new Set(each.issueCodes.map(short))].join(", ");
    return el(
      "div",
      {
        role: "row",
        class: "grid-row",
        "aria-rowindex": at + 2,
        "aria-label": [
          each.name,
          word("kind", each.kind),
          each.account.name,
          word("class", each.class),
          useText(each),
        ].join(", "),
        "data-at": at,
        tabindex: at === active ? "0" : "-1",
      },
      cell(
        "name",
        0,
        el("b", { title: each.arn }, outside(each.name)),
        el("span", { class: "under" }, word("kind", each.kind)),
      ),
      cell(
        "account",
        1,
        outside(each.account.name),
        el("span", { class: "under" }, each.account.id),
      ),
      cell("class", 2, badge("class", each.class)),
      cell(
        "use",
        3,
        el("span", null, each.status === "unknown" ? badge("status", "unknown") : useText(each)),
        el(
          "span",
          { class: "under" },
          each.status === "unknown"
            ? lastUse.unknown.map((source) => word("source", source)).join(", ")
            : each.usedOn === null
              ? ""
              : date(each.usedOn),
        ),
      ),
      cell("owner", 4, outside(each.owner, each.ownerIsDefault ? { class: "soft" } : {})),
      cell(
        "issues",
        5,
        el("span", { class: "two-lines", title: issues }, issues),
      ),
      el(
        "div",
        { role: "gridcell", class: "cell c-unused number", "aria-colindex": 7 },
        el("span", null, count(each.unusedServices)),
      ),
      cell(
        "change",
        7,
        el(
          "span",
          null,
          each.change === "new" || each.change === "changed" ? word("change", each.change) : "",
        ),
      ),
    );
  };

  let active = 0; // the row that the tab key reaches
  let rowHeight = 50;
  const drawn = new Map(); // position -> element
  const AROUND = 8;
  let printing = 0;
  const draw = () => {
    const body = $("grid-body");
    const start = body.getBoundingClientRect().top;
    let first = Math.max(0, Math.floor(-start / rowHeight) - AROUND);
    let last = Math.min(shown.length, Math.ceil((innerHeight - start) / rowHeight) + AROUND);
    if (printing) {
      first = 0;
      last = Math.min(shown.length, printing);
    }
    const hasFocus = drawn.get(active)?.contains(document.activeElement);
    for (const [at, element] of drawn)
      if ((at < first || at >= last) && at !== active) {
        element.remove();
        drawn.delete(at);
      }
    const needed = [];
    for (let at = first; at < last; at += 1) if (!drawn.has(at)) needed.push(at);
    if (active < shown.length && !drawn.has(active)) needed.push(active); // so that the tab key always finds it
    for (const at of needed) {
      const element = gridRow(shown[at], at);
      element.style.top = `${at * rowHeight}px`;
      drawn.set(at, element);
    }
    if (needed.length) {
      // in the order that people read, for screen readers and printers
      const order = [...drawn].sort(([one], [other]) => one - other).map(([, element]) => element);
      if (needed.length === drawn.size) body.replaceChildren(...order);
      else
        for (let at = 0; at < order.length; at += 1)
          if (body.children[at] !== order[at])
            body.insertBefore(order[at], body.children[at] ?? null);
      if (hasFocus && !drawn.get(active).contains(document.activeElement))
        drawn.get(active).focus({ preventScroll: true });
    }
  };
  const redraw = () => {
    const body = $("grid-body");
    const hadFocus = body.contains(document.activeElement);
    drawn.clear();
    body.replaceChildren();
    if (shown.length) {
      const probe = gridRow(shown[0], 0);
      body.append(probe);
      rowHeight = probe.getBoundingClientRect().height || rowHeight;
      probe.remove();
    }
    body.style.height = `${shown.length * rowHeight}px`;
    draw();
    if (hadFocus) drawn.get(active)?.focus({ preventScroll: true });
  };
  const moveTo = (at, { focus = true, scroll = true } = {}) => {
    if (!shown.length) return;
    const to = Math.max(0, Math.min(shown.length - 1, at));
    drawn.get(active)?.setAttribute("tabindex", "-1");
    active = to;
    const top = $("grid-body").getBoundingClientRect().top + to * rowHeight;
    const head = $("grid-head").getBoundingClientRect().height + 2;
    if (scroll && top < head) scrollBy(0, top - head);
    else if (scroll && top + rowHeight > innerHeight) scrollBy(0, top + rowHeight - innerHeight);
    draw();
    const element = drawn.get(to);
    element.setAttribute("tabindex", "0");
    if (focus) element.focus({ preventScroll: true });
  };

  const options = (id, name, groups) => {
    const select = $(id);
    const make = ([value, label]) => el("option", { value }, label);
    select.replaceChildren(
      el("option", { value: "" }, T("report_any")),
      ...groups.flatMap(([label, choices]) =>
        label ? [el("optgroup", { label }, choices.map(make))] : choices.map(make),
      ),
    );
    if (state[name] && ![...select.options].some((option) => option.value === state[name]))
      select.append(make([state[name], state[name]]));
    select.value = state[name];
    select.classList.toggle("set", Boolean(state[name]));
  };
  const valuesOf = (key) => {
    const counted = new Map();
    for (const each of principals) counted.set(key(each), (counted.get(key(each)) ?? 0) + 1);
    return counted;
  };
  const withCount = (label, number) => `${label} (${numbers.format(number)})`;
  let filtersIn = "";
  const showFilters = () => {
    if (filtersIn !== state.language) {
      // the choices change with the language only
      filtersIn = state.language;
      const named = (counted, group, order) =>
        order
          .filter((value) => counted.has(value))
          .map((value) => [value, withCount(word(group, value), counted.get(value))]);
      const byText = ([, one], [, other]) => collator.compare(one, other);
      const statuses = valuesOf((each) => each.status);
      const unused = principals.filter((each) => each.isUnused).length;
      const kinds = valuesOf((each) => each.kind);
      const holders = valuesOf((each) => each.account.id);
      const accountName = new Map(principals.map((each) => [each.account.id, each.account.name]));
      const codes = new Map();
      const marks = new Map();
      const members = new Map();
      let withIssues = 0;
      for (const each of principals) {
        withIssues += each.issueCodes.length ? 1 : 0;
        for (const code of new Set(each.issueCodes)) codes.set(code, (codes.get(code) ?? 0) + 1);
        for (const mark of each.has)
          if (MARKS.includes(mark)) marks.set(mark, (marks.get(mark) ?? 0) + 1);
        for (const member of each.changes) members.set(member, (members.get(member) ?? 0) + 1);
      }
      choices.class = [
        [
          null,
          named(
            valuesOf((each) => each.class),
            "class",
            CLASSES,
          ),
        ],
      ];
      choices.status = [
        [
          null,
          [
            ...(unused ? [[UNUSED, withCount(T("report_status_unused"), unused)]] : []),
            ...named(statuses, "status", STATUSES),
          ],
        ],
      ];
      choices.kind = [[null, named(kinds, "kind", [...kinds.keys()]).sort(byText)]];
      choices.account = [
        [
          null,
          [...holders]
            .map(([id, number]) => [id, withCount(`${accountName.get(id)} · ${id}`, number)])
            .sort(byText),
        ],
      ];
      choices.owner = [
        [
          null,
          [...valuesOf((each) => each.owner)]
            .map(([owner, number]) => [owner, withCount(owner, number)])
            .sort(byText),
        ],
      ];
      choices.has = [
        [
          T("report_issues"),
          [
            ...(withIssues ? [["issues", withCount(T("report_any_issue"), withIssues)]] : []),
            ...[...codes]
              .map(([code, number]) => [code, withCount(short(code), number)])
              .sort(byText),
          ],
        ],
        [
          T("report_marks"),
          [...marks]
            .map(([mark, number]) => [mark, withCount(T(`report_mark_${mark}`), number)])
            .sort(byText),
        ],
      ];
      const changed = valuesOf((each) => each.change);
      choices.change = [
        [
          null,
          ["new", "changed", "same"]
            .filter((value) => changed.has(value))
            .map((value) => [value, withCount(changeName(value), changed.get(value))]),
        ],
        [
          T("report_changed_member"),
          [...members]
            .map(([member, number]) => [`in:${member}`, withCount(memberName(member), number)])
            .sort(byText),
        ],
      ];
    }
    for (const name of Object.keys(TESTS)) options(`filter-${name}`, name, choices[name]);
    if ($("search").value !== state.q) $("search").value = state.q;
    $("search").classList.toggle("set", Boolean(state.q));
  };
  const choices = {};

  const showPrincipals = () => {
    const first = shown[active];
    shown = sorted(filtered());
    active = Math.max(0, shown.indexOf(first));
    showFilters();
    showHead();
    const grid = $("grid");
    grid.setAttribute("aria-rowcount", shown.length + 1);
    grid.setAttribute("aria-colcount", COLUMNS.length);
    $("grid-empty").hidden = shown.length > 0;
    const isAll = shown.length === principals.length;
    $("result-count").textContent = isAll
      ? T("report_result_all", { total: principals.length })
      : T("report_result", { shown: shown.length, total: principals.length });
    $("clear").disabled = FILTERS.every((name) => !state[name]);
    $("download").disabled = !shown.length;
    for (const button of document.querySelectorAll("[data-filter]"))
      button.setAttribute("aria-pressed", String(isOnly(JSON.parse(button.dataset.filter))));
    active = Math.min(active, Math.max(0, shown.length - 1));
    redraw();
  };

  // --- CSV of what is shown --------------------------------------------------------------------

  // What begins a formula, at the start or behind a separator: as pare/inventory/report_csv.py has it.
  const FORMULA = /(^|[,;|])([\s"'\u3000]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])/g;
  const csvCell = (value) =>
    `"${String(value ?? "")
      .replace(FORMULA, "$1'$2")
      .replaceAll('"', '""')}"`;
  const csv = () => {
    const heads = [
      "column_account_id",
      "column_account",
      "column_name",
      "column_arn",
      "column_kind",
      "column_class",
      "column_status",
      "column_idle_days",
      "column_last_used",
      "column_source",
      "column_owner",
      "column_issues",
      "column_unused_services",
      "column_unused_actions",
      "column_change",
      "column_created",
      "column_plans",
      "column_reason",
    ];
    const unknownOr = (value) => (value === null ? T("word_unknown") : value);
    const lines = shown.map((each) => [
      each.account.id,
      each.account.name,
      each.name,
      each.arn,
      word("kind", each.kind),
      word("class", each.class),
      word("status", each.status),
      unknownOr(each.idle),
      date(each.usedOn),
      each.lastUse.source ? word("source", each.lastUse.source) : "",
      each.owner,
      each.issues.map(sentence).join(" "),
      unknownOr(each.unusedServices),
      unknownOr(each.unusedActions),
      each.change ? word("change", each.change) : "",
      date(each.cell("created")),
      (each.rest.plans ?? []).map(planText).join("; "),
      each.reasons.map(sentence).join(" "),
    ]);
    return `\ufeff${[heads.map((key) => T(key)), ...lines].map((line) => line.map(csvCell).join(",")).join("\r\n")}\r\n`; // the mark makes Excel read UTF-8
  };
  const download = () => {
    const place = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    el("a", { href: place, download: `inventory-${snapshot.period}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(place), 10_000);
    say(T("report_downloaded", { principals: shown.length }));
  };

  // --- one principal ---------------------------------------------------------------------------

  const facts = (list) =>
    el(
      "dl",
      null,
      list
        .filter(([, value]) => value !== "" && value !== null && value !== undefined)
        .flatMap(([label, value]) => [el("dt", null, label), el("dd", null, value)]),
    );
  const list = (values) =>
    el(
      "ul",
      { class: "plain" },
      values.map((value) => el("li", null, value instanceof Node ? value : outside(value))),
    );
  const monthsStrip = (bits) => {
    const from = new Date(`${snapshot.period}-01T00:00:00Z`);
    const names = [];
    const strip = el("span", { class: "months", role: "img" });
    for (let back = 13; back >= 0; back -= 1) {
      const name = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() - back, 1))
        .toISOString()
        .slice(0, 7);
      const used = Boolean(bits & (1 << back));
      if (used) names.push(name);
      strip.append(
        el("i", {
          class: used ? "on" : null,
          title: used
            ? T("report_used_in", { month: name })
            : T("report_no_use_in", { month: name }),
        }),
      );
    }
    strip.setAttribute(
      "aria-label",
      names.length ? T("report_used_in", { month: names.join(", ") }) : T("report_no_month"),
    );
    return strip;
  };
  const section = (title, ...children) =>
    children.flat().some(Boolean)
      ? [el("h3", null, title), ...children.flat().filter(Boolean)]
      : [];

  const showDetail = (each) => {
    const { rest, lastUse } = each;
    const body = [
      el("h2", { id: "detail-title", tabindex: "-1" }, outside(each.name)),
      el(
        "p",
        null,
        badge("class", each.class),
        " ",
        el("span", null, T(`class_${each.class}_about`)),
      ),
      el(
        "div",
        { class: "arn" },
        outside(each.arn, { class: "mono" }),
        copyButton(each.arn, "ARN"),
      ),
      ...section(
        T("report_why"),
        el(
          "ul",
          { class: "why" },
          each.reasons.map((value) => el("li", null, outside(sentence(value)))),
        ),
      ),
      ...section(T("report_issues"), each.issues.length ? list(each.issues.map(sentence)) : null),
      ...section(
        T("report_planned"),
        rest.plans
          ? list(
              rest.plans.map((plan) =>
                el(
                  "span",
                  null,
                  planText(plan),
                  " ",
                  el(
                    "span",
                    { class: "soft small" },
                    T("report_times_announced", {
                      times: plan.times_announced,
                      since: plan.announced_on,
                    }),
                  ),
                ),
              ),
            )
          : null,
      ),
      ...section(
        T("report_commands"),
        each.commands
          ? [
              el("p", { class: "small soft" }, T("report_commands_lead")),
              ...each.commands.map((block) => commandBlock(block, each.account)),
            ]
          : null,
      ),
      ...section(
        T("report_exemption"),
        rest.exemption
          ? facts([
              [T("report_owner"), outside(rest.exemption.owner)],
              [T("report_reason"), outside(rest.exemption.reason)],
              [T("report_expires"), outside(rest.exemption.expires)],
            ])
          : null,
      ),
      ...section(
        T("report_seasons"),
        rest.seasons
          ? list(
              rest.seasons.map((season) =>
                T("report_season", {
                  what: season.what === "principal" ? word("what", "principal") : season.what,
                  used_on: season.used_on.join(", "),
                  expected: season.expected,
                  decide_after: season.decide_after,
                }),
              ),
            )
          : null,
      ),
      ...section(T("report_last_use"), lastUseOf(each, lastUse)),
      ...section(T("report_services"), servicesOf(each)),
      ...section(T("report_credentials"), credentialsOf(each)),
      ...section(T("report_trust"), trustOf(each)),
      ...section(
        T("report_wide"),
        rest.wide
          ? list(
              rest.wide.map((wide) =>
                el(
                  "span",
                  null,
                  outside(wide.policy),
                  ": ",
                  el("code", null, outside(wide.pattern)),
                  wide.group ? [" · ", T("report_through_group"), " ", outside(wide.group)] : null,
                  wide.is_administrator
                    ? [
                        " ",
                        el("span", { class: "badge badge-delete" }, T("report_mark_administrator")),
                      ]
                    : null,
                ),
              ),
            )
          : null,
      ),
      ...section(
        T("report_policies"),
        each.cell("policies").length || each.cell("groups").length || pool[each.cell("boundary")]
          ? facts([
              [
                T("report_policies"),
                each.cell("policies").length
                  ? list(each.cell("policies").map((at) => pool[at]))
                  : T("word_none"),
              ],
              [
                T("report_groups"),
                each.cell("groups").length ? list(each.cell("groups").map((at) => pool[at])) : "",
              ],
              [
                T("report_boundary"),
                pool[each.cell("boundary")] ? outside(pool[each.cell("boundary")]) : "",
              ],
            ])
          : el("p", { class: "soft" }, T("report_no_policy")),
      ),
      ...section(
        T("report_about"),
        facts([
          [
            T("report_account"),
            [outside(each.account.name), " ", el("span", { class: "soft mono" }, each.account.id)],
          ],
          [T("report_kind"), word("kind", each.kind)],
          [
            T("report_owner"),
            [
              outside(each.owner),
              each.ownerIsDefault
                ? el("span", { class: "soft" }, ` (${T("report_owner_default")})`)
                : null,
            ],
          ],
          [T("report_created"), date(each.cell("created"))],
          [T("report_id"), el("span", { class: "mono" }, each.cell("principal_id"))],
          [
            T("report_description"),
            pool[each.cell("description")] ? outside(pool[each.cell("description")]) : "",
          ],
          [T("report_disabled_by"), rest.disabled_by ? outside(rest.disabled_by) : ""],
          [
            T("report_instance_profiles"),
            rest.instance_profiles ? list(rest.instance_profiles) : "",
          ],
          [
            T("report_change"),
            each.change
              ? [
                  changeName(each.change),
                  each.changes.length ? `: ${each.changes.map(memberName).join(", ")}` : "",
                ]
              : "",
          ],
          [
            T("report_tags"),
            each.tags.length
              ? list(
                  each.tags.map(([key, value]) =>
                    el("span", null, outside(key), " = ", outside(value)),
                  ),
                )
              : "",
          ],
          [
            T("report_not_known"),
            each.cell("unknown").length
              ? list(each.cell("unknown").map((at) => word("source", pool[at])))
              : "",
          ],
        ]),
      ),
    ];
    fill("detail-body", body);
    $("detail-body").scrollTop = 0;
    const at = shown.indexOf(each);
    for (const [id, to, key] of [
      ["detail-before", at - 1, "report_before"],
      ["detail-after", at + 1, "report_after"],
    ]) {
      $(id).textContent = T(key);
      $(id).disabled = at < 0 || !shown[to];
      $(id).onclick = () => openDetail(shown[to], { by: id });
    }
    $("detail-close").textContent = T("report_close");
  };
  const lastUseOf = (each, use) => {
    const rows = use.sources.map(([source, day]) =>
      row(
        word("source", source),
        dayCell(day === null ? T("report_none_recorded") : date(day)),
        dayCell(day === null ? "" : T("report_days_ago", { days: TODAY - day })),
      ),
    );
    for (const source of use.unknown)
      rows.push(
        row(
          word("source", source),
          el("td", { colspan: 2 }, badge("status", "unknown"), " ", T("report_no_answer")),
        ),
      );
    return [
      el(
        "p",
        null,
        each.status === "unknown"
          ? badge("status", "unknown")
          : el("b", null, word("status", each.status)),
        " · ",
        use.at === null
          ? T("report_none_recorded")
          : T("report_last_seen", {
              date: date(use.at),
              source: word("source", use.source),
              what: hasText(`what_${use.what.replaceAll(" ", "_")}`)
                ? word("what", use.what)
                : use.what,
            }),
      ),
      table(T("report_last_use"), [T("report_source"), T("report_last"), T("report_ago")], rows),
      el(
        "p",
        { class: "small soft" },
        use.since === null
          ? T("report_since_unknown")
          : T("report_since", { since: date(use.since) }),
      ),
      el("p", { class: "small" }, T("report_months"), " ", monthsStrip(each.cell("months"))),
    ];
  };
  const servicesOf = (each) => {
    const used = each.cell("services").map(([service, ...more]) => [pool[service], ...more]);
    used.sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]));
    const parts = [
      el(
        "p",
        null,
        each.unusedServices === null
          ? [badge("status", "unknown"), " ", T("report_services_not_known")]
          : T("report_services_lead", { used: used.length, unused: each.unusedServices }),
      ),
    ];
    if (used.length)
      parts.push(
        table(
          T("report_services"),
          [
            T("report_service"),
            T("report_last"),
            { text: T("report_used_actions"), number: true },
            { text: T("report_unused_actions"), number: true },
            T("report_months"),
          ],
          used.map(([service, day, usedActions, unusedActions, denied, months]) =>
            row(
              [
                outside(service),
                denied
                  ? [" ", el("span", { class: "badge badge-unknown" }, T("report_denied_only"))]
                  : null,
              ],
              dayCell(date(day)),
              numberCell(count(usedActions)),
              numberCell(unusedActions === null ? T("report_not_tracked") : count(unusedActions)),
              el("td", null, monthsStrip(months)),
            ),
          ),
        ),
      );
    return parts;
  };
  const credentialsOf = (each) => {
    const { credentials } = each.rest;
    if (!credentials)
      return pool[each.cell("trust")] === null ? el("p", null, badge("status", "unknown")) : null; // a role has none
    const parts = [
      facts([
        [
          T("report_password"),
          credentials.password === null
            ? T("word_unknown")
            : credentials.password
              ? T("report_password_used", {
                  used:
                    credentials.password_used === null
                      ? T("report_none_recorded")
                      : date(credentials.password_used),
                  changed:
                    credentials.password_changed === null
                      ? T("word_unknown")
                      : date(credentials.password_changed),
                })
              : T("word_no"),
        ],
        [T("report_mfa"), yes(credentials.mfa)],
        [T("report_certificates"), credentials.certificates ? count(credentials.certificates) : ""],
      ]),
    ];
    if (credentials.keys.length)
      parts.push(
        table(
          T("report_keys"),
          [T("report_key"), T("report_state"), T("report_created"), T("report_last_use")],
          credentials.keys.map((key, at) =>
            row(
              [`${at + 1} `, el("span", { class: "mono" }, key.id ?? "")],
              el("td", null, T(key.active ? "word_active" : "word_inactive")),
              dayCell(key.created === null ? T("word_unknown") : date(key.created)),
              el(
                "td",
                null,
                key.used === null
                  ? T("report_none_recorded")
                  : [date(key.used), key.service ? ` · ${key.service} ${key.region}` : ""],
              ),
            ),
          ),
        ),
      );
    return parts;
  };
  const trustOf = (each) => {
    const trust = pool[each.cell("trust")];
    if (!trust) return null;
    return facts([
      [
        T("report_trust_public"),
        trust.is_public ? el("span", { class: "badge badge-delete" }, T("word_yes")) : "",
      ],
      [
        T("report_trust_outside"),
        trust.outside.length
          ? list(
              trust.outside.map((one) =>
                el(
                  "span",
                  null,
                  el("b", { class: "mono" }, one.account_id),
                  " ",
                  T(one.external_id ? "report_with_external_id" : "report_without_external_id"),
                  one.conditions.length ? [" · ", outside(one.conditions.join(", "))] : null,
                ),
              ),
            )
          : "",
      ],
      [T("report_trust_services"), trust.services.length ? list(trust.services) : ""],
      [
        T("report_trust_inside"),
        trust.inside.length
          ? list(
              trust.inside.map((id) => {
                const account = accounts.find((one) => one.id === id);
                return account ? `${account.name} ${id}` : id;
              }),
            )
          : "",
      ],
      [T("report_trust_own"), trust.own_account ? T("word_yes") : ""],
      [
        T("report_trust_federated_open"),
        trust.federated_open?.length
          ? list(
              trust.federated_open.map((provider) =>
                el("span", { class: "badge badge-delete" }, outside(provider)),
              ),
            )
          : "",
      ],
      [T("report_trust_federated"), trust.federated.length ? list(trust.federated) : ""],
      [T("report_not_known"), trust.unknown.length ? list(trust.unknown) : ""],
    ]);
  };

  const openDetail = (each, { by } = {}) => {
    state.principal = each.arn;
    keepState();
    showDetail(each);
    const dialog = $("detail");
    if (!dialog.open) dialog.showModal();
    if (by && !$(by).disabled) $(by).focus();
    else $("detail-title").focus();
    const at = shown.indexOf(each);
    if (at >= 0) moveTo(at, { focus: false, scroll: false }); // the page moves when it is closed
  };
  const closed = () => {
    state.principal = "";
    keepState();
    if (shown.length) moveTo(active, { focus: true });
  };

  // --- all of it -------------------------------------------------------------------------------

  const showStill = () => {
    document.documentElement.lang = state.language;
    document.documentElement.dataset.theme = state.theme;
    for (const element of document.querySelectorAll("[data-text]"))
      element.textContent = T(element.dataset.text);
    for (const element of document.querySelectorAll("[data-label]"))
      element.setAttribute("aria-label", T(element.dataset.label));
    const title = T("report_title", { month: month(snapshot.period) });
    document.title = `${title} · Pare`;
    $("title").textContent = title;
    $("subtitle").textContent = T("report_subtitle", {
      as_of: snapshot.as_of.slice(0, 16).replace("T", " "),
      previous: snapshot.previous ? month(snapshot.previous) : T("word_none"),
    });
    $("foot").replaceChildren(
      T("report_foot", {
        definition: snapshot.definition_version,
        created: snapshot.created_at.slice(0, 16).replace("T", " "),
      }),
      " ",
      csvLink(),
    );
    fill(
      "sections",
      ["unknown", "changes", "trend", "plans", "accounts", "principals"]
        .filter((id) => !$(id).hidden)
        .map((id) => linkButton(T(`report_${id}`), () => goTo(id))),
    );
    for (const button of document.querySelectorAll("[data-language]"))
      button.setAttribute("aria-pressed", String(button.dataset.language === state.language));
    for (const button of document.querySelectorAll("[data-theme-name]"))
      button.setAttribute("aria-pressed", String(button.dataset.themeName === state.theme));
  };
  const showAll = () => {
    setWords();
    showNumbers();
    showNotices();
    showUnknown();
    showStill();
    showChanges();
    showTrend();
    showPlans();
    showAccounts();
    showPrincipals();
    const each = byArn.get(state.principal);
    if (each) openDetail(each);
    else if ($("detail").open) $("detail").close();
  };

  // --- what people do --------------------------------------------------------------------------

  let asked = 0;
  const soon = (run) => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(run);
  };
  $("search").addEventListener("input", () => change({ q: $("search").value }));
  for (const name of Object.keys(TESTS))
    $(`filter-${name}`).addEventListener("change", (event) =>
      change({ [name]: event.target.value }),
    );
  $("clear").addEventListener("click", () => {
    change(Object.fromEntries(FILTERS.map((name) => [name, ""])));
    $("search").focus();
  });
  $("download").addEventListener("click", download);
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    goTo("principals");
    $("search").focus();
  });
  for (const button of document.querySelectorAll("[data-language]"))
    button.addEventListener("click", () => {
      state.language = button.dataset.language;
      showAll();
      keepState();
    });
  for (const button of document.querySelectorAll("[data-theme-name]"))
    button.addEventListener("click", () => {
      state.theme = button.dataset.themeName;
      showStill();
      keepState();
    });
  const rowOf = (event) => event.target.closest("[data-at]");
  $("grid-body").addEventListener("click", (event) => {
    const hit = rowOf(event);
    if (hit && !String(getSelection())) openDetail(shown[Number(hit.dataset.at)]);
  });
  $("grid-body").addEventListener("keydown", (event) => {
    const hit = rowOf(event);
    if (!hit || event.altKey || event.metaKey) return;
    const at = Number(hit.dataset.at);
    const page = Math.max(1, Math.floor(innerHeight / rowHeight) - 2);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: shown.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      moveTo(to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      openDetail(shown[at]);
    }
  });
  $("detail-close").addEventListener("click", () => $("detail").close());
  $("detail").addEventListener("close", closed);
  $("detail").addEventListener("click", (event) => {
    if (event.target === $("detail")) $("detail").close();
  });
  addEventListener("scroll", () => draw(), { passive: true });
  let sized = innerWidth;
  addEventListener("resize", () =>
    soon(() => {
      if (innerWidth !== sized) {
        sized = innerWidth;
        showTrend();
        redraw();
      } else draw();
    }),
  );
  addEventListener("hashchange", () => {
    readState();
    showAll();
  });
  const PRINTED = 1000;
  addEventListener("beforeprint", () => {
    printing = PRINTED;
    $("print-note").textContent =
      shown.length > PRINTED ? T("report_printed", { printed: PRINTED, total: shown.length }) : "";
    draw();
  });
  addEventListener("afterprint", () => {
    printing = 0;
    draw();
  });

  readState();
  showAll();
  scrollTo(0, 0);
})();
