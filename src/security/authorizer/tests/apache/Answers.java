import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.utils.SecurityUtils;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.metadata.authorizer.StandardAuthorizerData;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;

/**
 * StandardAuthorizer answers: "new everyone?", "acl type name pattern principal host operation permission",
 * "ask principal host operation type name" (the audit line), "type principal host operation type" (the result).
 * Fields are separated by tabs.
 */
public class Answers {
    private static StandardAuthorizer authorizer;

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null;) {
            String[] f = line.split("\t", -1);
            switch (f[0]) {
                case "new" -> fresh(f[1]);
                case "acl" -> authorizer.addAcl(Uuid.randomUuid(), new StandardAcl(ResourceType.fromString(f[1]), f[2],
                    PatternType.fromString(f[3]), f[4], f[5], AclOperation.fromString(f[6]), AclPermissionType.fromString(f[7])));
                case "ask" -> out.println(ask(new Context(f[1], f[2]), new Action(AclOperation.fromString(f[3]),
                    new ResourcePattern(ResourceType.fromString(f[4]), f[5], PatternType.LITERAL), 1, true, true)));
                case "type" -> out.println(authorizer.authorizeByResourceType(new Context(f[1], f[2]),
                    AclOperation.fromString(f[3]), ResourceType.fromString(f[4])));
                default -> throw new IllegalArgumentException(line);
            }
        }
        out.flush();
    }

    private static void fresh(String everyone) throws Exception {
        authorizer = new StandardAuthorizer();
        Map<String, Object> config = new HashMap<>();
        config.put("node.id", "1");
        config.put("super.users", "User:root");
        config.put("allow.everyone.if.no.acl.found", everyone);
        authorizer.configure(config);
        authorizer.withPluginMetrics(new PluginMetricsImpl(new Metrics(), Map.of()));
        authorizer.completeInitialLoad();
    }

    private static String ask(Context context, Action action) throws Exception {
        Field field = StandardAuthorizer.class.getDeclaredField("data");
        field.setAccessible(true);
        Object data = field.get(authorizer);
        KafkaPrincipal principal = context.principal();
        Object rule;
        if (principal.toString().equals("User:root")) {
            Field instance = Class.forName(StandardAuthorizerData.class.getName() + "$SuperUserRule").getDeclaredField("INSTANCE");
            instance.setAccessible(true);
            rule = instance.get(null);
        } else {
            Method find = method("findAclRule");
            Set<KafkaPrincipal> both = Set.of(principal, new KafkaPrincipal("User", "*"));
            rule = find.invoke(data, both, context.clientAddress().getHostAddress(), action);
        }
        return (String) method("buildAuditMessage").invoke(data, principal, context, action, rule);
    }

    private static Method method(String name) {
        for (Method method : StandardAuthorizerData.class.getDeclaredMethods()) {
            if (method.getName().equals(name)) {
                method.setAccessible(true);
                return method;
            }
        }
        throw new IllegalStateException(name);
    }

    private record Context(KafkaPrincipal principal, InetAddress clientAddress) implements AuthorizableRequestContext {
        Context(String principal, String host) throws Exception {
            this(SecurityUtils.parseKafkaPrincipal(principal), InetAddress.getByName(host));
        }

        @Override public String listenerName() {
            return "CLIENT";
        }

        @Override public SecurityProtocol securityProtocol() {
            return SecurityProtocol.SASL_SSL;
        }

        @Override public int requestType() {
            return 3;
        }

        @Override public int requestVersion() {
            return 1;
        }

        @Override public String clientId() {
            return "c";
        }

        @Override public int correlationId() {
            return 1;
        }
    }
}
