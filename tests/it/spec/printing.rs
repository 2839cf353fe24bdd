//! What `config` prints.

use xcompose::spec::Options;
use xcompose::spec::print::Format;

use super::{load, load_with};

#[test]
fn short_forms_are_printed_long_in_the_order_of_docker_compose() {
    let loaded = load(
        r#"
services:
  web:
    restart: always
    image: nginx
    ports: ["8080:80/UDP", "127.0.0.1::53"]
    command: sh -c "echo hi"
    volumes: ["data:/var/lib/", "/tmp:/t:ro"]
    environment: [B=2, "A=$$x"]
    mem_limit: 1.5g
    stop_grace_period: 90s
    depends_on: [db]
    healthcheck: {test: curl localhost, interval: 1m}
    x-note: {b: 1, a: [true, null]}
  db: {image: postgres}
volumes: {data: }
"#,
    );
    insta::assert_snapshot!(loaded.model.print(Format::Yaml).unwrap(), @r#"
    name: demo
    services:
      db:
        image: postgres
        networks:
          default: null
      web:
        command:
          - sh
          - -c
          - echo hi
        depends_on:
          db:
            condition: service_started
            required: true
        environment:
          A: $$x
          B: "2"
        healthcheck:
          test:
            - CMD-SHELL
            - curl localhost
          interval: 1m0s
        image: nginx
        mem_limit: "1610612736"
        networks:
          default: null
        ports:
          - mode: ingress
            target: 80
            published: "8080"
            protocol: udp
          - mode: ingress
            host_ip: 127.0.0.1
            target: 53
            protocol: tcp
        restart: always
        stop_grace_period: 1m30s
        volumes:
          - type: volume
            source: data
            target: /var/lib
            volume: {}
          - type: bind
            source: /tmp
            target: /t
            read_only: true
            bind:
              create_host_path: true
        x-note:
          a:
            - true
            - null
          b: 1
    networks:
      default:
        name: demo_default
    volumes:
      data:
        name: demo_data
    "#);
}

#[test]
fn json_shows_what_go_would_not_leave_out_and_no_extensions_of_services() {
    let loaded = load("services: {a: {image: i, x-a: 1, deploy: {}, cpus: 0.5, ulimits: {core: 0}}}\nx-top: <&>\n");
    insta::assert_snapshot!(loaded.model.print(Format::Json).unwrap(), @r#"
    {
      "name": "demo",
      "networks": {
        "default": {
          "name": "demo_default",
          "ipam": {}
        }
      },
      "services": {
        "a": {
          "cpus": 0.5,
          "command": null,
          "deploy": {
            "resources": {},
            "placement": {}
          },
          "entrypoint": null,
          "image": "i",
          "networks": {
            "default": null
          },
          "ulimits": {
            "core": {}
          }
        }
      },
      "x-top": "\u003c\u0026\u003e"
    }
    "#);
}

#[test]
fn what_is_printed_reads_back_to_the_same() {
    let texts = [
        "yes",
        "null",
        "1",
        "0x1f",
        "1e3",
        "2001-12-14",
        "1:30",
        "a: b",
        "a #b",
        "- x",
        "'",
        "\"",
        "{a}",
        " a",
        "a ",
        "",
        "~",
        "<<",
        "line\n",
        "two\nlines",
        "\nfirst",
        "  in\n",
        "trail \n",
        "a\n\n",
        "tab\there",
        "\u{1}",
        "\u{feff}",
        "é",
        "!t",
        "&a",
        "*a",
        "=",
    ];
    let list: String =
        texts.iter().enumerate().map(|(n, text)| format!("      K{n}: {text:?}\n").replace("\\u{", "\\x{")).collect();
    let list = list.replace("\\x{1}", "\\x01").replace("\\x{feff}", "\\uFEFF");
    let first =
        load(&format!("services:\n  a:\n    image: i\n    environment:\n{list}")).model.print(Format::Yaml).unwrap();
    let second = load(&first).model.print(Format::Yaml).unwrap();
    assert_eq!(first, second);
    let project = load(&first).model.project().unwrap();
    let service = project.services.values().next().unwrap();
    for (n, text) in texts.iter().enumerate() {
        assert_eq!(service.environment.get(&format!("K{n}")).cloned().flatten().as_deref(), Some(*text), "K{n}");
    }
}

#[test]
fn without_interpolation_texts_stay_and_nothing_is_read_into_them() {
    let options = Options { interpolate: false, ..Options::default() };
    let compose = "services: {a: {image: 'i:$TAG', scale: '${N}', ports: ['${P}:80'], mem_limit: 1g}}\n";
    let loaded = load_with(compose, &[], &options).unwrap();
    let printed = loaded.model.print_raw(Format::Yaml).unwrap();
    for kept in ["name: demo", "image: i:$TAG", "scale: ${N}", "- ${P}:80", "mem_limit: 1g"] {
        assert!(printed.contains(kept), "{kept} in {printed}");
    }
}
