import com.google.gson.Gson;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/** A client of token-server: Java 17, and Gson for JSON. */
public class TokenServer {
  /** What is served; expires_in is in milliseconds, detail is of a refusal. */
  public record Token(String token, long generation, long expires_in, String detail) {}

  private record Held(Token token, long freshUntil) {}

  private static final long KEEP_MS = 60_000; // Of one that was replaced before its time.
  final Gson gson = new Gson();
  private final HttpClient http = HttpClient.newHttpClient();
  private final Map<String, Held> held = new ConcurrentHashMap<>();
  private final String base, apiKey;

  public TokenServer(String base, String apiKey) { this.base = base; this.apiKey = apiKey; }

  static String query(String realm, String key) {
    return "realm=" + URLEncoder.encode(realm, StandardCharsets.UTF_8)
        + "&key=" + URLEncoder.encode(key, StandardCharsets.UTF_8);
  }

  /** The lines of an answer; waits out a 503 three times. */
  Stream<String> ask(String path, Object body) throws IOException, InterruptedException {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + path))
        .header("Authorization", "Bearer " + apiKey).header("Content-Type", "application/json");
    if (body != null) request.POST(HttpRequest.BodyPublishers.ofString(gson.toJson(body)));
    for (int triesLeft = 3; ; triesLeft--) {
      HttpResponse<Stream<String>> answer = http.send(request.build(), HttpResponse.BodyHandlers.ofLines());
      if (answer.statusCode() == 200) return answer.body();
      String problem = String.join("", answer.body().toList());
      if (answer.statusCode() != 503 || triesLeft == 0)
        throw new IOException(gson.fromJson(problem, Token.class).detail());
      Thread.sleep(1000 * Math.min(30, answer.headers().firstValueAsLong("Retry-After").orElse(1)));
    }
  }

  /** Keeps a token for a minute at most, and for half of the time that it is valid. */
  Token keep(String name, String json) {
    Token token = gson.fromJson(json, Token.class);
    long freshFor = Math.min(KEEP_MS, token.expires_in() / 2);
    held.put(name, new Held(token, System.nanoTime() / 1_000_000 + freshFor));
    return token;
  }

  public Token token(String realm, String key) throws IOException, InterruptedException {
    Held kept = held.get(query(realm, key));
    if (kept != null && System.nanoTime() / 1_000_000 < kept.freshUntil()) return kept.token();
    return keep(query(realm, key), ask("/api/token?" + query(realm, key), null).reduce("", String::concat));
  }
}
