import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.URIParameter;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.Configuration;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.security.JaasContext;

/**
 * What Java reads: "file text" (the section KafkaServer of a static file, by the JDK), "property text" (the value of
 * sasl.jaas.config, by Kafka), "properties text" (by the JDK). Texts are base64; fields are separated by tabs.
 * Answers "refused", "absent", or what was read, each word in base64.
 */
public class Reads {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        Path file = Files.createTempFile("jaas", ".conf");
        for (String line; (line = in.readLine()) != null;) {
            String[] f = line.split("\t", -1);
            byte[] text = Base64.getDecoder().decode(f[1]);
            out.println(switch (f[0]) {
                case "file" -> file(file, text);
                case "property" -> property(new String(text, StandardCharsets.UTF_8));
                case "properties" -> properties(text);
                default -> throw new IllegalArgumentException(line);
            });
        }
        out.flush();
        Files.delete(file);
    }

    private static String file(Path file, byte[] text) throws Exception {
        Files.write(file, text);
        AppConfigurationEntry[] entries;
        try {
            entries = Configuration.getInstance("JavaLoginConfig", new URIParameter(file.toUri()))
                .getAppConfigurationEntry("KafkaServer");
        } catch (Exception e) {
            return "refused";
        }
        return entries == null ? "absent" : modules(List.of(entries));
    }

    private static String property(String text) {
        try {
            Map<String, Object> config = Map.of("plain.sasl.jaas.config", new Password(text));
            return modules(JaasContext.loadServerContext(new ListenerName("CLIENT"), "PLAIN", config).configurationEntries());
        } catch (Exception e) {
            return "refused";
        }
    }

    private static String modules(List<AppConfigurationEntry> entries) {
        List<String> words = new ArrayList<>();
        for (AppConfigurationEntry entry : entries) {
            words.add("[");
            words.add(word(entry.getLoginModuleName()));
            String flag = entry.getControlFlag().toString();
            words.add(flag.substring(flag.indexOf(' ') + 1));
            new TreeMap<>(entry.getOptions()).forEach((key, value) -> words.add(word(key) + "=" + word((String) value)));
        }
        return String.join(" ", words);
    }

    private static String properties(byte[] text) {
        Properties properties = new Properties();
        try {
            properties.load(new ByteArrayInputStream(text));
        } catch (Exception e) {
            return "refused";
        }
        List<String> words = new ArrayList<>();
        properties.forEach((key, value) -> words.add(word((String) key) + "=" + word((String) value)));
        words.sort(null);
        return words.isEmpty() ? "absent" : String.join(" ", words);
    }

    private static String word(String text) {
        return "'" + Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
}
