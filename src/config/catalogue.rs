//! The words of every code, in English and Chinese, side by side.
//!
//! J JAAS, P properties, L listeners, A authorization, C certificates. 0xxx are errors, 01xx and 02xx warnings and notes
//! (a profile may turn one of those into an error). A code never changes its meaning. `{0}`, `{1}` ... are filled in by
//! the finder; texts of Apache Kafka (`{0}` alone) are never translated: people search for them.

use std::fmt;

/// A language of people. Log lines and what Kafka's tools print are never translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Lang {
    #[default]
    En,
    /// zh-CN
    Zh,
}

impl Lang {
    /// The language of a tag or locale such as `zh-CN` or `zh_CN.UTF-8`; English for everything else.
    pub fn from_tag(tag: &str) -> Self {
        if tag.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("zh")) { Self::Zh } else { Self::En }
    }

    /// `SCHLOSS_LANG`, then `LC_ALL`, then `LANG`: the first that is set and not empty.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let tag =
            ["SCHLOSS_LANG", "LC_ALL", "LANG"].iter().filter_map(|name| variable(name)).find(|tag| !tag.is_empty());
        tag.map_or(Self::En, |tag| Self::from_tag(&tag))
    }

    pub(crate) const fn severity(self, severity: super::diagnostics::Severity) -> &'static str {
        use super::diagnostics::Severity::{Error, Note, Warning};
        match (self, severity) {
            (Self::En, Error) => "error",
            (Self::En, Warning) => "warning",
            (Self::En, Note) => "note",
            (Self::Zh, Error) => "错误",
            (Self::Zh, Warning) => "警告",
            (Self::Zh, Note) => "说明",
        }
    }

    pub(crate) const fn colon(self) -> &'static str {
        match self {
            Self::En => ": ",
            Self::Zh => "：",
        }
    }

    pub(crate) const fn help_word(self) -> &'static str {
        match self {
            Self::En => "help: ",
            Self::Zh => "建议：",
        }
    }

    pub(crate) const fn note_word(self) -> &'static str {
        match self {
            Self::En => "note: ",
            Self::Zh => "说明：",
        }
    }

    pub(crate) fn and_more(self, count: usize) -> String {
        match self {
            Self::En => format!("... and {count} more"),
            Self::Zh => format!("……还有 {count} 条"),
        }
    }
}

/// The texts of one code in one language. An empty label or help is not printed.
#[derive(Debug)]
pub struct Wording {
    pub message: &'static str,
    pub label: &'static str,
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($code:ident
        en [$em:literal, $el:literal, $eh:literal]
        zh [$zm:literal, $zl:literal, $zh:literal])*) => {
        /// What a diagnostic is about.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        pub enum Code { $($code),* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),* }
            }

            pub const fn wording(self, lang: Lang) -> &'static Wording {
                match (self, lang) { $(
                    (Self::$code, Lang::En) => &Wording { message: $em, label: $el, help: $eh },
                    (Self::$code, Lang::Zh) => &Wording { message: $zm, label: $zl, help: $zh },
                )* }
            }
        }
    };
}

catalogue! {
    J0001
        en ["the file starts with a byte order mark", "Java would read the first section's name as another one and find no section", "remove the first three bytes (in vim: set nobomb)"]
        zh ["文件以字节顺序标记（BOM）开头", "Java 会把第一个段名读成另一个名字，从而找不到该段", "删除开头的三个字节（vim：set nobomb）"]
    J0002
        en ["expected {0}, found {1}", "", ""]
        zh ["此处应为 {0}，实际为 {1}", "", ""]
    J0003
        en ["two sections are named '{0}'", "the second one", "join them: a section may hold several login modules"]
        zh ["有两个段都叫“{0}”", "第二个", "合并它们：一个段可以包含多个登录模块"]
    J0004
        en ["';' is missing after {0}", "write ';' here", ""]
        zh ["{0} 之后缺少“;”", "在此处写“;”", ""]
    J0005
        en ["a control flag must follow the module name, found '{0}'", "required, requisite, sufficient or optional", ""]
        zh ["模块名之后必须是控制标志，实际为“{0}”", "required、requisite、sufficient 或 optional", ""]
    J0006
        en ["expected key=value, found {0}", "", ""]
        zh ["此处应为 键=值，实际为 {0}", "", ""]
    J0007
        en ["the character '{0}' needs double quotes around the text it is in", "not allowed outside quotes", ""]
        zh ["字符“{0}”所在的文本必须加双引号", "不能出现在引号之外", ""]
    J0008
        en ["an unquoted '/' starts a comment", "everything after this is lost", ""]
        zh ["未加引号的“/”会开始一段注释", "此处之后的内容都会丢失", ""]
    J0009
        en ["single quotes work only in sasl.jaas.config, not in a JAAS file", "use double quotes", ""]
        zh ["单引号只能用于 sasl.jaas.config，不能用于 JAAS 文件", "请使用双引号", ""]
    J0010
        en ["the quote is not closed on its line", "opened here", "close it with \" before the end of the line; a line break inside is written \\n"]
        zh ["引号没有在本行内关闭", "从此处开始", "在行尾之前用 \" 关闭；引号内的换行写作 \\n"]
    J0011
        en ["'#' does not start a comment in JAAS", "", "use // to the end of the line, or /* ... */"]
        zh ["“#”在 JAAS 中不表示注释", "", "请使用 // 直到行尾，或 /* ... */"]
    J0012
        en ["no value is known for '{0}'", "cannot be expanded", "give it with -D in KAFKA_OPTS, or write ${env:NAME}"]
        zh ["不知道“{0}”的值", "无法展开", "在 KAFKA_OPTS 中用 -D 给出，或写 ${env:NAME}"]
    J0013
        en ["sasl.jaas.config must hold exactly one login module, this one holds {0}", "", "put each mechanism's module in its own key: listener.name.<listener>.<mechanism>.sasl.jaas.config"]
        zh ["sasl.jaas.config 必须正好包含一个登录模块，这里有 {0} 个", "", "每种机制的模块写在各自的键中：listener.name.<listener>.<mechanism>.sasl.jaas.config"]
    J0014
        en ["the JAAS file cannot be read: {0}", "", ""]
        zh ["无法读取 JAAS 文件：{0}", "", ""]
    J0020
        en ["login module {0} is not allowed", "", "the modules are org.apache.kafka.common.security.plain.PlainLoginModule and ...scram.ScramLoginModule"]
        zh ["不允许使用登录模块 {0}", "", "可用的模块是 org.apache.kafka.common.security.plain.PlainLoginModule 和 ...scram.ScramLoginModule"]
    J0021
        en ["login module {0} is known, but its mechanism is not in this version", "", "remove the module and its mechanism from sasl.enabled.mechanisms; PLAIN and SCRAM work"]
        zh ["已知登录模块 {0}，但本版本还没有它的机制", "", "删除该模块，并从 sasl.enabled.mechanisms 中去掉它的机制；PLAIN 和 SCRAM 可用"]
    J0031
        en ["the password of '{0}' is empty", "anybody could log in", "give it a password, or delete the option"]
        zh ["“{0}”的密码为空", "任何人都能登录", "设置密码，或删除该选项"]
    J0032
        en ["'{0}' cannot be a user name", "", ""]
        zh ["“{0}”不能作为用户名", "", ""]
    J0040
        en ["listener {0} offers {1}, but no JAAS entry says who may log in", "", "add a KafkaServer section to the JAAS file (--jaas FILE), or set listener.name.{2}.{3}.sasl.jaas.config"]
        zh ["监听器 {0} 提供 {1}，但没有任何 JAAS 条目说明谁可以登录", "", "在 JAAS 文件（--jaas FILE）中添加 KafkaServer 段，或设置 listener.name.{2}.{3}.sasl.jaas.config"]
    J0101
        en ["option '{0}' is written twice; the last one wins", "this one counts", ""]
        zh ["选项“{0}”写了两次；最后一个生效", "这一个生效", ""]
    J0102
        en ["section '{0}' reads as if it were not there: it is empty, or its name is not the one looked for", "did you mean {1} ?", ""]
        zh ["段“{0}”等同于不存在：它是空的，或者名称不是要找的那个", "是否指 {1}？", ""]
    J0103
        en ["\\u is no escape in JAAS: the backslash is dropped and 'u' stays", "", "write the character itself; the file is UTF-8"]
        zh ["\\u 在 JAAS 中不是转义：反斜杠被丢弃，只剩下“u”", "", "直接写该字符；文件为 UTF-8"]
    J0104
        en ["this comment is never closed", "the rest of the file belongs to it", "close it with */"]
        zh ["这段注释没有结束", "文件余下部分都属于它", "用 */ 结束"]
    J0105
        en ["section '{0}' is for logging in to ZooKeeper and has no effect here", "", ""]
        zh ["段“{0}”用于登录 ZooKeeper，在此不起作用", "", ""]
    J0106
        en ["{0} has no option '{1}'", "{2}", ""]
        zh ["{0} 没有选项“{1}”", "{2}", ""]
    J0107
        en ["listener {0} offers PLAIN, but its JAAS entry names no user", "", "add user_NAME=\"password\" to the PlainLoginModule"]
        zh ["监听器 {0} 提供 PLAIN，但其 JAAS 条目没有任何用户", "", "在 PlainLoginModule 中添加 user_NAME=\"password\""]
    J0108
        en ["a broker does not read sasl.jaas.config without a listener and a mechanism in front of it", "has no effect", "listener.name.<listener>.<mechanism>.sasl.jaas.config, both in lower case"]
        zh ["代理不读取前面没有监听器和机制的 sasl.jaas.config", "不起作用", "listener.name.<listener>.<mechanism>.sasl.jaas.config，两者均为小写"]
    J0201
        en ["{0} PLAIN users have their passwords here in clear text: {1}", "", "an argon2id hash ($argon2id$...) may stand in its place"]
        zh ["这里有 {0} 个 PLAIN 用户的密码以明文存放：{1}", "", "可以改用 argon2id 哈希（$argon2id$...）"]
    J0202
        en ["the password of '{0}' is one that documentation prints as a sample", "known to everybody", "choose another one"]
        zh ["“{0}”的密码是文档中印出的示例密码", "人人皆知", "请换一个"]
    J0203
        en ["{0} holds passwords and every user of this machine can read it", "", "chmod o-rwx {0}"]
        zh ["{0} 含有密码，而本机所有用户都能读取它", "", "chmod o-rwx {0}"]

    P0001
        en ["the file starts with a byte order mark", "it would become part of the first key", "remove the first three bytes (in vim: set nobomb)"]
        zh ["文件以字节顺序标记（BOM）开头", "它会成为第一个键的一部分", "删除开头的三个字节（vim：set nobomb）"]
    P0002
        en ["malformed \\uxxxx escape", "four hexadecimal digits must follow \\u", "write \\\\u for a backslash and a u"]
        zh ["\\uxxxx 转义格式错误", "\\u 之后必须是四个十六进制数字", "反斜杠加 u 请写作 \\\\u"]
    P0003
        en ["this line has no {0}", "", "write key=value, or # in front of a comment"]
        zh ["这一行没有{0}", "", "请写 键=值，注释请以 # 开头"]
    P0004
        en ["{0} cannot be read: {1}", "", ""]
        zh ["无法读取 {0}：{1}", "", ""]
    P0101
        en ["'{0}' is written twice; the last one wins", "this one counts", "delete one of the two"]
        zh ["“{0}”写了两次；最后一个生效", "这一个生效", "删除其中一个"]
    P0103
        en ["a backslash in a properties file is an escape: {0} became {1}", "", "double every backslash, or use /"]
        zh ["properties 文件中的反斜杠是转义：{0} 变成了 {1}", "", "每个反斜杠写两次，或使用 /"]
    P0104
        en ["quotes are part of the value here", "properties files need no quotes", ""]
        zh ["这里的引号是值的一部分", "properties 文件不需要引号", ""]
    P0105
        en ["Apache Kafka reads this file as ISO-8859-1 and would see another value for '{0}'", "read as UTF-8 here", "write the characters as \\uXXXX: that is the same for both"]
        zh ["Apache Kafka 按 ISO-8859-1 读取此文件，会看到“{0}”的另一个值", "此处按 UTF-8 读取", "请把这些字符写作 \\uXXXX：两者读取结果相同"]
    P0106
        en ["a properties file removes one level of backslashes before JAAS sees the value", "", "inside quotes of sasl.jaas.config write \\\\\\\" for a quote and \\\\\\\\ for a backslash"]
        zh ["properties 文件会先去掉一层反斜杠，然后才轮到 JAAS", "", "在 sasl.jaas.config 的引号内，引号写作 \\\\\\\"，反斜杠写作 \\\\\\\\"]
    P0201
        en ["'{0}' is not resolved: {1}", "Kafka would use the text itself as the value", ""]
        zh ["“{0}”无法解析：{1}", "Kafka 会把这段文本本身当作值", ""]
    P0202
        en ["there is no config provider '{0}'", "", "file, env and dir exist"]
        zh ["没有名为“{0}”的配置提供者", "", "可用的有 file、env 和 dir"]
    P0203
        en ["the line break at the end of {0} is left out", "", ""]
        zh ["{0} 末尾的换行已去掉", "", ""]
    P0204
        en ["{0} lies outside the directories that config providers may read", "", "{1}"]
        zh ["{0} 不在配置提供者可以读取的目录之内", "", "{1}"]
    P0302
        en ["{0}", "", ""]
        zh ["{0}", "", ""]
    P0303
        en ["{0}", "", ""]
        zh ["{0}", "", ""]
    P0304
        en ["an override is written key=value, found '{0}'", "", ""]
        zh ["覆盖项写作 键=值，实际为“{0}”", "", ""]
    P0310
        en ["{0} has no effect: Schloss keeps its metadata itself and needs no ZooKeeper", "", ""]
        zh ["{0} 不起作用：Schloss 自己保存元数据，不需要 ZooKeeper", "", ""]
    P0311
        en ["node.id chosen: {0} (kept in meta.properties)", "", ""]
        zh ["已选定 node.id：{0}（保存在 meta.properties）", "", ""]
    P0313
        en ["accepted, but without effect in this version: {0}", "", ""]
        zh ["已接受，但在本版本中不起作用：{0}", "", ""]
    P0401
        en ["a misspelt security key has no effect, and nothing else would tell you", "{0}", ""]
        zh ["拼错的安全配置键不会起作用，而且不会有别的提示", "{0}", ""]
    P0402
        en ["unknown key '{0}'", "{1}", ""]
        zh ["未知的键“{0}”", "{1}", ""]
    P0403
        en ["{0} is not in this version; only its default ({1}) is accepted", "would have no effect", "remove the line"]
        zh ["本版本还没有 {0}；只接受其默认值（{1}）", "不会起作用", "删除这一行"]
    P0404
        en ["there is no listener '{0}'", "", "the listeners are {1}"]
        zh ["没有名为“{0}”的监听器", "", "现有监听器：{1}"]
    P0405
        en ["class {1} of {0} is not known here", "", "{2}"]
        zh ["这里没有 {0} 所指的类 {1}", "", "{2}"]
    P0406
        en ["{0} cannot be set for one listener", "", "write it without the prefix listener.name.{1}."]
        zh ["{0} 不能只为一个监听器设置", "", "去掉前缀 listener.name.{1}."]

    L0001
        en ["{0}", "", ""]
        zh ["{0}", "", ""]
    L0002
        en ["{0} is not a port", "0 to 65535", ""]
        zh ["{0} 不是端口", "0 到 65535", ""]
    L0003
        en ["listener {0} uses SASL, but sasl.enabled.mechanisms is not set and Kafka's default, GSSAPI, is not in this version", "", "sasl.enabled.mechanisms=SCRAM-SHA-512"]
        zh ["监听器 {0} 使用 SASL，但没有设置 sasl.enabled.mechanisms，而 Kafka 的默认值 GSSAPI 本版本还没有", "", "sasl.enabled.mechanisms=SCRAM-SHA-512"]
    L0004
        en ["SASL mechanism {0} is not available on listener {1}", "", "PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are"]
        zh ["监听器 {1} 上没有 SASL 机制 {0}", "", "可用的是 PLAIN、SCRAM-SHA-256 和 SCRAM-SHA-512"]
    L0005
        en ["{0} asks for a quorum of several nodes, which is not in this version", "", "one node with process.roles=broker,controller, named alone in controller.quorum.voters"]
        zh ["{0} 要求多节点的仲裁，本版本还没有", "", "请用一个节点：process.roles=broker,controller，并且 controller.quorum.voters 中只有它"]
    L0006
        en ["process.roles={0} needs other nodes, which is not in this version", "", "process.roles=broker,controller"]
        zh ["process.roles={0} 需要其他节点，本版本还没有", "", "process.roles=broker,controller"]
    L0110
        en ["listener {0}://{1} is not encrypted", "everybody on the way can read it", "use SSL or SASL_SSL, bind it to 127.0.0.1, or name it in schloss.allow.plaintext.listeners"]
        zh ["监听器 {0}://{1} 没有加密", "途经的任何人都能读取", "使用 SSL 或 SASL_SSL，绑定到 127.0.0.1，或写入 schloss.allow.plaintext.listeners"]
    L0111
        en ["listener {0}://{1} takes SASL/PLAIN passwords without encryption", "everybody on the way can read them", "use SASL_SSL, or SCRAM, or bind it to 127.0.0.1"]
        zh ["监听器 {0}://{1} 在未加密的连接上接收 SASL/PLAIN 密码", "途经的任何人都能读取", "使用 SASL_SSL 或 SCRAM，或绑定到 127.0.0.1"]

    A0001
        en ["authorizer class {0} is not known here, and running without the authorizer you asked for would leave everything open", "", "kafka.security.authorizer.AclAuthorizer, kafka.security.auth.SimpleAclAuthorizer and org.apache.kafka.metadata.authorizer.StandardAuthorizer stand for the native one"]
        zh ["这里没有授权类 {0}；不用您要求的授权器运行会让一切敞开", "", "kafka.security.authorizer.AclAuthorizer、kafka.security.auth.SimpleAclAuthorizer 和 org.apache.kafka.metadata.authorizer.StandardAuthorizer 都对应内置授权器"]
    A0002
        en ["super.users: {0}", "", "super.users=User:admin;User:other"]
        zh ["super.users：{0}", "", "super.users=User:admin;User:other"]
    A0003
        en ["super users are separated by ';', so this is one user named '{0}'", "", "super.users=User:admin;User:other"]
        zh ["超级用户用“;”分隔，所以这是名为“{0}”的一个用户", "", "super.users=User:admin;User:other"]
    A0004
        en ["User:ANONYMOUS as a super user makes everybody without an identity one", "", "remove it from super.users"]
        zh ["把 User:ANONYMOUS 设为超级用户，等于让所有无身份者都成为超级用户", "", "请从 super.users 中删除它"]
    A0110
        en ["no authorizer: every client may do everything", "", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"]
        zh ["没有授权器：任何客户端都可以做任何事", "", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"]
    A0111
        en ["allow.everyone.if.no.acl.found=true opens every resource that has no ACL yet", "", "remove it, or confirm it with schloss.allow.everyone=true"]
        zh ["allow.everyone.if.no.acl.found=true 会开放所有还没有 ACL 的资源", "", "请删除它，或用 schloss.allow.everyone=true 确认"]

    C0101
        en ["{0} is a {1} store, which this version does not read", "", "{2}"]
        zh ["{0} 是 {1} 格式的存储，本版本不能读取", "", "{2}"]
    C0102
        en ["listener {0} uses TLS but has no certificate", "", "ssl.keystore.type=PEM and ssl.keystore.location=FILE with the private key and its certificate chain"]
        zh ["监听器 {0} 使用 TLS，但没有证书", "", "ssl.keystore.type=PEM，并用 ssl.keystore.location=FILE 指向含私钥和证书链的文件"]
    C0103
        en ["{0} cannot be read: {1}", "", ""]
        zh ["无法读取 {0}：{1}", "", ""]
    C0104
        en ["{0} holds a private key and every user of this machine can read it", "", "chmod o-rwx {0}"]
        zh ["{0} 含有私钥，而本机所有用户都能读取它", "", "chmod o-rwx {0}"]
    C0105
        en ["the private key in {0} is encrypted, which this version does not read", "", "openssl pkcs8 -in KEY -out NEWKEY (it asks for the password); keep the new file at mode 0600"]
        zh ["{0} 中的私钥已加密，本版本不能读取", "", "openssl pkcs8 -in KEY -out NEWKEY（会询问密码）；新文件权限保持 0600"]
    C0106
        en ["{0} holds no {1}", "", ""]
        zh ["{0} 中没有 {1}", "", ""]
    C0107
        en ["{0} names no protocol this broker speaks", "", "ssl.enabled.protocols=TLSv1.2,TLSv1.3"]
        zh ["{0} 中没有本代理支持的协议", "", "ssl.enabled.protocols=TLSv1.2,TLSv1.3"]
    C0108
        en ["{0} is not spoken here: TLS 1.2 is the oldest", "left out", ""]
        zh ["这里不支持 {0}：最低为 TLS 1.2", "已忽略", ""]
    C0109
        en ["ssl.cipher.suites names no suite this broker has: {0}", "", "remove the key, or name suites such as TLS_AES_256_GCM_SHA384"]
        zh ["ssl.cipher.suites 中没有本代理具有的套件：{0}", "", "删除该键，或使用 TLS_AES_256_GCM_SHA384 之类的套件"]
    C0110
        en ["{0} is a PEM file, but {1} says {2}", "", "{1}=PEM"]
        zh ["{0} 是 PEM 文件，但 {1} 为 {2}", "", "{1}=PEM"]
    C0111
        en ["listener {0} asks for client certificates, but no truststore says whose", "", "ssl.truststore.type=PEM and ssl.truststore.location=FILE with the certificate authority"]
        zh ["监听器 {0} 要求客户端证书，但没有信任库说明信任谁", "", "ssl.truststore.type=PEM，并用 ssl.truststore.location=FILE 指向证书颁发机构"]
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_the_same_amount() {
        let holes = |text: &str| (0..5).filter(|n| text.contains(&format!("{{{n}}}"))).collect::<Vec<_>>();
        for code in Code::ALL {
            let (en, zh) = (code.wording(Lang::En), code.wording(Lang::Zh));
            for (a, b) in [(en.message, zh.message), (en.label, zh.label), (en.help, zh.help)] {
                assert_eq!(a.is_empty(), b.is_empty(), "{code}");
                assert_eq!(holes(a), holes(b), "{code}");
            }
            assert!(!en.message.is_empty(), "{code}");
        }
    }

    #[test]
    fn the_language_comes_from_the_environment() {
        let of = |name: &'static str, value: &'static str| Lang::from_env(move |n| (n == name).then(|| value.into()));
        assert_eq!(of("SCHLOSS_LANG", "zh-CN"), Lang::Zh);
        assert_eq!(of("LANG", "zh_CN.UTF-8"), Lang::Zh);
        assert_eq!(of("LANG", "C.UTF-8"), Lang::En);
        assert_eq!(of("LANG", ""), Lang::En);
    }
}
